#!/usr/bin/env bash
# Sets everything up, builds the programs, makes the sample data, trains all stages and evaluates them. Results go to FOLDER
# (default out/quickstart). The last line is one JSON object.
# usage: scripts/quickstart.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
install_packages
prepare_libtorch
start=$(date +%s)
build_preset release -DMINIMIND_CUDA="$cuda"
BUILD_SECONDS=$(($(date +%s) - start))
export BUILD_SECONDS
cd "$minimind_root"
exec bash scripts/train_sample.sh build/release/bin "${1:-out/quickstart}"
