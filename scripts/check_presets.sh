#!/usr/bin/env bash
# Builds a preset other than `ci`: one object per file, a make-believe card, sanitizers or clang-tidy.
# usage: scripts/check_presets.sh PRESET [ninja target…]     e.g.  scripts/check_presets.sh asan minimind_data
# By default `dev` and `dry` build everything; `asan`, `tsan` and `tidy` build the layers without LibTorch.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
preset=${1:?usage: scripts/check_presets.sh PRESET [target…]}
shift
install_packages
[ "$preset" != tidy ] || command -v clang-tidy > /dev/null || install_packages clang-tidy
fetch_libtorch "$(choose_cuda)"
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  case $preset in
    dev | dry) targets=(all) ;;
    *) targets=(minimind_base minimind_text minimind_image minimind_kernels minimind_sample minimind_cli) ;;
  esac
fi
configure_preset "$preset"
cmake --build --preset "$preset" --target "${targets[@]}" >&2
say "preset $preset builds: ${targets[*]}"
