#!/usr/bin/env bash
# Runs the golden and gpu tests on an NVIDIA card. Then compares training speed, share of the card's peak and memory with
# the peer. The last line is one JSON object.
# usage: scripts/bench_gpu.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
command -v nvidia-smi > /dev/null && nvidia-smi -L >&2 || die "expected an NVIDIA card with its driver (nvidia-smi -L), found none"
install_packages
fetch_libtorch "$(choose_cuda)"
build_preset ci
ctest --preset ci -L 'golden|gpu' >&2
source "$minimind_root/scripts/bench_peer.sh"
make_bench_data
say "Training on $(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1): ours and the peer alternately"
exec "$bench_venv/bin/python" "$minimind_root/tests/bench/gpu_bench.py" "$bench_data" --bin "$minimind_root/build/ci/bin" --peer_python "$bench_venv/bin/python"
