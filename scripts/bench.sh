#!/usr/bin/env bash
# Speed against peers, or beside busy loops, measured alternately in one run on this machine. The last line is one JSON object.
# usage: scripts/bench.sh train|chat|busy
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
what=${1:-}
[[ $what =~ ^(train|chat|busy)$ ]] || die "usage: scripts/bench.sh train|chat|busy"
shift
bench=$minimind_root/tests/bench
install_packages
fetch_libtorch "$(choose_cuda)"  # the peer runs on its Python
build_preset release -DMINIMIND_CUDA=OFF -DMINIMIND_BENCH=ON
bin=$minimind_root/build/release/bin

if [ "$what" = busy ]; then
  say "Benchmark beside busy loops, load $(cut -d' ' -f1 /proc/loadavg)"
  exec python3 "$bench/busy_bench.py" "$minimind_cache/bench-busy" --bin "$bin" "$@"
fi

source "$minimind_root/scripts/bench_peer.sh"
if [ "$what" = train ]; then
  make_bench_data
  say "Training benchmark: ours and the peer alternately, 2 threads, load $(cut -d' ' -f1 /proc/loadavg)"
  exec "$bench_venv/bin/python" "$bench/train_bench.py" "$bench_data" --bin "$bin" --peer_python "$bench_venv/bin/python" "$@"
fi

llama_venv=$minimind_cache/bench-chat-venv
# Built from source, it uses all instructions of this processor; a binary package does not.
make_venv "$llama_venv" --no-binary llama-cpp-python llama-cpp-python==0.3.36 gguf==0.19.0
data=$minimind_cache/bench-chat-files
if [ ! -e "$data/.complete" ]; then
  say "Making full-size files in $data"
  rm -rf "$data"
  "$bench_venv/bin/python" "$bench/chat_data.py" "$data" >&2
  for shape in "512 8" "768 16"; do
    for type in F32 BF16 Q8_0; do
      # shellcheck disable=SC2086
      "$llama_venv/bin/python" "$bench/chat_peer.py" write "$data/${shape% *}_$type.gguf" "$type" $shape
    done
  done
  touch "$data/.complete"
fi
if [ ! -e "$data/trained/128_vlm_sft.pth" ]; then
  say "Training a small model on the sample to compare its loss in int8"
  bash "$bench/chat_model.sh" "$bin" "$data/sample" "$data/trained" >&2
fi
say "Chat benchmark: ours and the peers alternately, load $(cut -d' ' -f1 /proc/loadavg)"
exec "$bench_venv/bin/python" "$bench/chat_bench.py" "$data" --bin "$bin" --llama_python "$llama_venv/bin/python" --clip_python "$bench_venv/bin/python" "$@"
