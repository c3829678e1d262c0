#!/usr/bin/env bash
# Sets everything up, builds the `ci` preset with CUDA and NCCL linked, and runs the tests on the CPU. Arguments go to CTest.
# usage: scripts/test.sh [CTest arguments]     e.g.  scripts/test.sh -L golden
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
install_packages
# The test of the chat page needs a browser; without one it is skipped. Ubuntu's browser is a snap, which containers cannot run.
if [ "$(. /etc/os-release && echo "$ID")" = debian ] && [ "$(id -u)" -eq 0 ]; then
  (install_packages chromium) || say "no browser: the test of the chat page will be skipped"
fi
fetch_libtorch "$(choose_cuda)"
build_preset ci
say "Running the tests"
cd "$minimind_root"
exec ctest --test-dir build/ci --output-on-failure --no-tests=error "$@"
