#!/usr/bin/env bash
# Sets everything up, builds the `ci` preset (CUDA and NCCL linked, run on the CPU) and runs the tests. Arguments go to CTest.
# usage: scripts/test.sh [CTest arguments]     e.g.  scripts/test.sh -L golden
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
install_packages
# The chat page's test wants a browser and tells that it is skipped without one. Ubuntu's comes as a snap, which containers cannot run.
if [ "$(. /etc/os-release && echo "$ID")" = debian ] && [ "$(id -u)" -eq 0 ]; then
  (install_packages chromium) || say "no browser: the test of the chat page will be skipped"
fi
fetch_libtorch cuda
build_preset ci
say "Running the tests"
cd "$minimind_root"
exec ctest --test-dir build/ci --output-on-failure --no-tests=error "$@"
