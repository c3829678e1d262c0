#!/usr/bin/env bash
# Runs the golden and gpu tests on an NVIDIA card. Then compares training speed, share of the card's peak and memory with
# the peer. After the set-up it takes at most 8 minutes: what does not fit is left out and named. The last line is one JSON
# object. Exit code: 0, or 1 if a test failed.
# usage: scripts/bench_gpu.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
command -v nvidia-smi > /dev/null && nvidia-smi -L >&2 || die "expected an NVIDIA card with its driver (nvidia-smi -L), found none"
install_packages
fetch_libtorch "$(choose_cuda)"
build_preset ci
source "$minimind_root/scripts/bench_peer.sh"
make_bench_data
start=$SECONDS
cd "$minimind_root"
status=0
timeout -k 5 180 ctest --preset ci -j 4 -L 'golden|gpu' >&2 || status=1
say "Training on $(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1): ours and the peer alternately"
"$bench_venv/bin/python" tests/bench/gpu_bench.py "$bench_data" --bin build/ci/bin --peer_python "$bench_venv/bin/python" \
  --budget $((470 - (SECONDS - start))) --tests_failed $status
exit $status
