#!/usr/bin/env bash
# Sets everything up, builds the `ci` preset (CUDA and NCCL linked, run on the CPU) and runs the tests. Arguments go to CTest.
# usage: scripts/test.sh [CTest arguments]     e.g.  scripts/test.sh -L golden
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
# The chat page's test wants a browser; Ubuntu's comes as a snap, which containers cannot run, so there that test tells that it is skipped.
if [ "$(. /etc/os-release && echo "$ID")" = debian ]; then install_packages chromium; else install_packages; fi
fetch_libtorch cuda
build_preset ci
say "Running the tests"
cd "$minimind_root"
exec ctest --test-dir build/ci --output-on-failure --no-tests=error "$@"
