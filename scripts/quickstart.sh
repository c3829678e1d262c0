#!/usr/bin/env bash
# The main job in one command: set-up, build, sample data, pretraining, instruction tuning, multi-image tuning, evaluation.
# usage: scripts/quickstart.sh [FOLDER]      results go to FOLDER (default out/quickstart); the last line is one JSON object
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
install_packages
# An NVIDIA driver decides which LibTorch is worth fetching.
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
