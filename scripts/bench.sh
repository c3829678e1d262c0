#!/usr/bin/env bash
# Speed against peers, measured alternately in one run on this machine. The last line is one JSON object.
# usage: scripts/bench.sh train
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
[ "${1:-}" = train ] || die "usage: scripts/bench.sh train"
install_packages
fetch_libtorch cuda  # its Python is the peer's
build_preset release -DMINIMIND_CUDA=OFF
venv=$minimind_cache/bench-venv
if [ ! -e "$venv/.complete" ]; then
  say "Installing the peer (transformers) into $venv"
  rm -rf "$venv"
  python3 -m venv "$venv"
  # The peer runs on the same torch wheel.
  dirname "$LIBTORCH" > "$(echo "$venv"/lib/python3.*/site-packages)/torch_wheel.pth"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check transformers==4.57.6
  touch "$venv/.complete"
fi
data=$minimind_cache/bench-data
if [ ! -e "$data/.complete" ]; then
  "$venv/bin/python" "$minimind_root/tests/bench/train_data.py" "$data"
  touch "$data/.complete"
fi
say "Training benchmark: ours and the peer alternately, 2 threads, load $(cut -d' ' -f1 /proc/loadavg)"
exec "$venv/bin/python" "$minimind_root/tests/bench/train_bench.py" "$data" --bin "$minimind_root/build/release/bin" --peer_python "$venv/bin/python"
