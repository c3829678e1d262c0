#!/usr/bin/env bash
# On a machine with an NVIDIA card: the golden and gpu tests, then training speed, share of the card's peak and memory against the peer.
# usage: scripts/bench_gpu.sh      the last line is one JSON object
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
command -v nvidia-smi > /dev/null && nvidia-smi -L >&2 || die "expected an NVIDIA card with its driver (nvidia-smi -L), found none"
install_packages
fetch_libtorch cuda
build_preset ci
ctest --preset ci -L 'golden|gpu' >&2
source "$minimind_root/scripts/bench_peer.sh"
make_bench_data
say "Training on $(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1): ours and the peer alternately"
exec "$bench_venv/bin/python" "$minimind_root/tests/bench/gpu_bench.py" "$bench_data" --bin "$minimind_root/build/ci/bin" --peer_python "$bench_venv/bin/python"
