#!/usr/bin/env bash
# Sets everything up, builds the `ci` preset with CUDA and NCCL linked, and runs the tests on the CPU. Then builds the `dry` preset
# without CUDA and runs its tests on a make-believe card. Arguments go to CTest, for both.
# usage: scripts/test.sh [CTest arguments]     e.g.  scripts/test.sh -L golden
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
install_packages
# The test of the chat page needs a browser; without one it is skipped. Ubuntu's browser is a snap, which containers cannot run.
if [ "$(. /etc/os-release && echo "$ID")" = debian ] && [ "$(id -u)" -eq 0 ]; then
  (install_packages chromium) || say "no browser: the test of the chat page will be skipped"
fi
fetch_libtorch "$(choose_cuda)"
# One cache serves both presets: paths below the checkout count relative to the build folder.
export CCACHE_BASEDIR=$minimind_root CCACHE_NOHASHDIR=1
build_preset ci
# The programs without CUDA, on a make-believe card (label cuda_dry), unless the arguments choose none of these tests.
configure_preset dry
chosen() { ctest --test-dir "build/$1" -N "${@:2}" | sed -n 's/^Total Tests: //p'; }
presets=()
[ "$(chosen ci "$@")" = 0 ] || presets+=(ci)
[ "$(chosen dry "$@")" = 0 ] || presets+=(dry)
[ ${#presets[@]} -gt 0 ] || die "CTest: expected arguments that choose a test, found '$*'; ctest --test-dir build/ci -N lists all"
failed=0
for preset in "${presets[@]}"; do
  [ "$preset" = ci ] || build_preset "$preset"
  say "Running the tests of build/$preset"
  ctest --test-dir "build/$preset" --output-on-failure "$@" || failed=$?
done
exit "$failed"
