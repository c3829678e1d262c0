# Installs the peer of the benchmarks: transformers on the same torch wheel. Sets bench_venv and bench_data. Sourced after
# fetch_libtorch.
bench_venv=$minimind_cache/bench-venv
bench_data=$minimind_cache/bench-data

# make_venv FOLDER PACKAGE…: makes a virtual environment that sees the torch wheel.
make_venv() {
  local venv=$1
  shift
  [ ! -e "$venv/.complete" ] || return 0
  say "Installing $* into $venv"
  rm -rf "$venv"
  python3 -m venv "$venv"
  dirname "$LIBTORCH" > "$(echo "$venv"/lib/python3.*/site-packages)/torch_wheel.pth"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
  touch "$venv/.complete"
}

make_venv "$bench_venv" transformers==4.57.6

# Makes the data of the training benchmark in bench_data.
make_bench_data() {
  [ ! -e "$bench_data/.complete" ] || return 0
  say "Making benchmark data in $bench_data"
  "$bench_venv/bin/python" "$minimind_root/tests/bench/train_data.py" "$bench_data" >&2
  touch "$bench_data/.complete"
}
