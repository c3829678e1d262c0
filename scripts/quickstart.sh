#!/usr/bin/env bash
# Sets everything up, builds the programs, makes the sample data, trains all stages and evaluates them. Results go to FOLDER
# (default out/quickstart). The last line is one JSON object.
# usage: scripts/quickstart.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
install_packages
# The CUDA wheels are large; only a machine with an NVIDIA driver gets them.
if [ -e /proc/driver/nvidia/version ] || command -v nvidia-smi > /dev/null; then
  fetch_libtorch cuda
  cuda=ON
else
  fetch_libtorch cpu
  cuda=OFF
fi
start=$(date +%s)
build_preset release -DMINIMIND_CUDA=$cuda
BUILD_SECONDS=$(($(date +%s) - start))
export BUILD_SECONDS
cd "$minimind_root"
exec bash scripts/train_sample.sh build/release/bin "${1:-out/quickstart}"
