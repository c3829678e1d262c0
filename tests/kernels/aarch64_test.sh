#!/bin/bash
# Compiles the kernels and gemv_test.cpp for aarch64 as one static program and runs it under qemu-user, which makes NEON
# the best instruction set. usage: aarch64_test.sh ROOT WORK_FOLDER; exit 77 if a package is missing.
set -eu
root=$1 work=$2
googletest=/usr/src/googletest/googletest
compiler=$(command -v aarch64-linux-gnu-g++) && emulator=$(command -v qemu-aarch64 || command -v qemu-aarch64-static) &&
  [ -f "$googletest/src/gtest-all.cc" ] || {
  echo "skipped: expected aarch64-linux-gnu-g++, qemu-aarch64 and $googletest;" \
       "install g++-aarch64-linux-gnu, qemu-user and libgtest-dev"
  exit 77
}
mkdir -p "$work"
compile=("$compiler" -std=c++20 -O2 -Wall -Wextra -I"$root/src" -I"$googletest/include" -I"$googletest")
[ -f "$work/gtest.o" ] || "${compile[@]}" -O0 -c "$googletest/src/gtest-all.cc" -o "$work/gtest.o"
"${compile[@]}" -static -o "$work/test_kernels" "$root"/src/kernels/*.cpp "$root/tests/kernels/gemv_test.cpp" \
  "$googletest/src/gtest_main.cc" "$work/gtest.o" -lpthread
"$emulator" "$work/test_kernels"
"$emulator" "$work/test_kernels" --gtest_filter=GemvKernels.BestOnesAreAvailable | grep "best kernels: neon"
