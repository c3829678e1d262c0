#!/usr/bin/env bash
# Beside the driver old_driver.cpp, `--device auto` takes the CPU and says why, and the tests of --device pass.
# usage: old_driver_test.sh TEST_BINARY FOLDER_OF_THE_DRIVER
set -euo pipefail
[ -e "$2/libcuda.so.1" ] || { echo "error: expected $2/libcuda.so.1, found none"; exit 1; }
told=$(LD_LIBRARY_PATH=$2 "$1" --gtest_filter='Device.*' --gtest_color=no 2>&1) || { echo "$told"; exit 1; }
warnings=$(grep -c '^warning: --device auto: this run uses the CPU' <<< "$told" || true)
if [ "$warnings" -ne 1 ] || ! grep -qE 'found (a driver for CUDA 12\.4, and LibTorch needs CUDA 13|a build without CUDA)' <<< "$told"; then
  echo "error: expected one warning that names the driver's CUDA 12.4, found:"
  echo "$told"
  exit 1
fi
echo "$told" | grep '^warning: --device auto'
