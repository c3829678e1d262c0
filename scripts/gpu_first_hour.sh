#!/usr/bin/env bash
# The first look at a machine with NVIDIA cards, in at most 12 minutes: build, tests, two cards, the sample, speed beside the peer, a profile.
# Goes on after a failure. Writes FOLDER/summary.md and a log of each part. Exit code: 0, or 1 if a part failed.
# usage: scripts/gpu_first_hour.sh [--dry] [--bin DIR] [FOLDER]   (default: out/gpu_first_hour)
#   --dry      without a card: parts that need one are named as not run, the others run on the CPU in small sizes
#   --bin DIR  built programs (default: build/ci/bin, which the part `build` makes)
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
sample=$root/data/sample
readonly total_seconds=720
inputs=(--tokenizer "$sample/tokenizer.model" --clip_dir "$sample/clip")

# --- The parts. Each runs in a process of its own with a time limit. A line `RESULT text` goes into the summary. Exit code 77 and a line
# --- `NOT RUN: reason` mean that the part cannot run here.

not_run() { echo "NOT RUN: $*"; exit 77; }

part_machine() {
  local status=0
  echo "RESULT processor: $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(getconf _NPROCESSORS_ONLN) cores, $(($(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo) / 1000000)) GB memory"
  nvidia-smi --query-gpu=index,name,memory.total,driver_version,compute_cap --format=csv,noheader > "$report/cards.csv" || status=$?
  sed -E 's/^([^,]*), ([^,]*), ([^,]*), ([^,]*), (.*)$/RESULT card \1: \2, \3 memory, driver \4, compute capability \5/' "$report/cards.csv"
  nvidia-smi > "$report/nvidia-smi.txt" || status=$?
  return $status
}

part_build() {
  source "$root/scripts/setup.sh"
  install_packages
  fetch_libtorch "$(choose_cuda)"
  configure_preset ci
  cmake --build --preset ci -j "$(nproc)" --target pretrain_vlm eval_chat test_model test_infer
}

part_versions() {
  local libtorch
  libtorch=$(sed -n 's/^LIBTORCH:PATH=//p' "$bin/../CMakeCache.txt")
  echo "RESULT torch: $(sed -nE "s/^__version__ = '(.*)'/\1/p" "$libtorch/version.py"), CUDA $(sed -nE "s/^cuda: .* = (.*)/\1/p" "$libtorch/version.py")"
  echo "RESULT program: $("$bin/pretrain_vlm" --version), commit $(git -C "$root" rev-parse HEAD 2> /dev/null | cut -c 1-9)"
}

# Runs the tests of one class. Exceptions show where in LibTorch they come from.
run_gpu_tests() {
  local status=0
  TORCH_SHOW_CPP_STACKTRACES=1 MINIMIND_BIN=$bin python3 "$root/tests/train/gpu_test.py" "$1" > "$report/$1.txt" 2>&1 || status=$?
  cat "$report/$1.txt"
  sed -nE 's/^(golden .*|the other rank ended .*|Ran [0-9]+ tests? in .*|OK.*|FAILED.*|(FAIL|ERROR): .*)$/RESULT \1/p' "$report/$1.txt"
  [ $status -ne 77 ] || not_run "$(sed -nE "s/.*skipped '(.*)'/\1/p" "$report/$1.txt" | head -n 1)"
  return $status
}
part_tests() { run_gpu_tests OnACard; }
part_two_cards() { run_gpu_tests OnTwoCards; }

part_sample() {
  local out=$report/sample steps=(--epochs 4)
  [ "$device" != cpu ] || steps=(--epochs 1 --max_steps 3)
  "$bin/pretrain_vlm" "${inputs[@]}" --images_dir "$sample/images" --data_path "$sample/pretrain.json" --out_dir "$out" --overwrite --init_from none \
    --dim 64 --n_layers 2 --n_heads 4 --n_kv_heads 2 --batch_size 8 --learning_rate 2e-3 --log_interval 1 --device "$device" "${steps[@]}" || return 1
  python3 - "$out/metrics.jsonl" <<'PYTHON' || return 1
import json, sys
records = [json.loads(line) for line in open(sys.argv[1])]
first, last = records[0], records[-1]
memory = f", {last['device_memory_mb']:.0f} MB on the card" if last.get("device_memory_mb") else ""
print(f"RESULT sample: loss {first['loss']:.3f} at first, {last['loss']:.3f} after {last['step']} steps, {last['samples_per_second']:.0f} samples/s{memory}")
PYTHON
  "$bin/eval_chat" "${inputs[@]}" --checkpoint "$out/64_vlm_pretrain.pth" --image "$sample/images/held_out_000000.jpg" --device "$device" --prompt "<image> what is it" \
    --max_new_tokens 20 < /dev/null > "$report/answer.txt" || return 1
  echo "RESULT chat: an answer of $(wc -c < "$report/answer.txt") bytes on $device"
}

part_speed() {
  local status=0 bench=(python3 "$root/tests/bench/gpu_bench.py")
  if [ "$device" = cpu ]; then
    bench+=("$sample" --tokenizer "$sample/tokenizer.model" --clip "$sample/clip" --device cpu --dtype float32 --shape 64 1 --batches 2 --entries 40
            --warmup 1 --steps 2 --workers 1)
  else
    source "$root/scripts/setup.sh"
    fetch_libtorch "$(choose_cuda)"
    source "$root/scripts/bench_peer.sh"
    make_bench_data
    set +e
    bench+=("$bench_data" --peer_python "$bench_venv/bin/python")
  fi
  "${bench[@]}" --bin "$bin" --budget $((limit > 60 ? limit - 30 : limit)) --ways ours peer ours_group_of_one peer_cudnn > "$report/speed.json" || status=$?
  [ $status -eq 0 ] || return $status
  python3 - "$report/speed.json" <<'PYTHON'
import json, sys
found = json.loads(open(sys.argv[1]).read().splitlines()[-1])
for name, result in found["results"].items():
    model, batch, way = name.split(" ")
    mfu = f", {100 * result['mfu']:.0f} % of the card's peak" if (result.get("mfu") or 0) >= 0.005 else ""
    memory = f", {result['device_memory_mb']:.0f} MB" if result.get("device_memory_mb") else ""
    print(f"RESULT speed: {model}, batch {batch}, {way}: {result['samples_per_second']:.1f} samples/s{mfu}{memory}")
for name, ratio in found["ratios"].items():
    print(f"RESULT speed: {name}: {ratio} times the peer")
for part in found["left_out"]:
    print(f"RESULT speed: {part['run']}: left out: {part['reason']}")
PYTHON
}

part_profile() {
  command -v nsys > /dev/null || not_run "nsys (NVIDIA Nsight Systems) is not installed"
  nsys profile --stats=true -f true -o "$report/profile" "$bin/pretrain_vlm" "${inputs[@]}" --images_dir "$sample/images" --data_path "$sample/pretrain.json" \
    --out_dir "$report/profiled" --overwrite --init_from none --dim 512 --n_layers 8 --batch_size 16 --max_steps 10 --device "$device" || return 1
  echo "RESULT profile: ten steps at 512+8 in profile.nsys-rep; the tables of kernels are in profile.txt"
}

# --- The order of the parts, and the report.

case ${1:-} in
  --part) "part_$2"; exit ;;
esac

dry=0 bin="" folder=""
while [ $# -gt 0 ]; do
  case $1 in
    --dry) dry=1 ;;
    --bin) bin=$(cd "$2" && pwd) || exit 2; shift ;;
    -*) echo "usage: $0 [--dry] [--bin DIR] [FOLDER]" >&2; exit 2 ;;
    *) folder=$1 ;;
  esac
  shift
done
has_bin=$([ -n "$bin" ] && echo 1 || echo 0)
bin=${bin:-$root/build/ci/bin}
folder=${folder:-$root/out/gpu_first_hour}
mkdir -p "$folder" && report=$(cd "$folder" && pwd) || exit 1
device=$([ $dry -eq 1 ] && echo cpu || echo cuda:0)
export bin report device
rows=() numbers=() failed=0

# Why a part cannot run; nothing if it can.
reason_against() {
  local name=$1 needs=$2
  if [ $((total_seconds - SECONDS)) -lt 5 ]; then
    echo "the $((total_seconds / 60)) minutes are spent"
  elif [ "$name" = build ] && [ "$has_bin" -eq 1 ]; then
    echo "--bin names built programs"
  elif [ "$needs" = card ] && [ $dry -eq 1 ]; then
    echo "needs an NVIDIA card, and this is a dry run"
  elif [ "$needs" = card ] && ! nvidia-smi -L > /dev/null 2>&1; then
    echo "nvidia-smi shows no card"
  fi
}

# run_part NAME SECONDS NEEDS TITLE: NEEDS is `card` or `nothing`.
run_part() {
  local name=$1 limit=$2 needs=$3 title=$4 result start=$SECONDS status=0 log=$report/$1.txt
  result=$(reason_against "$name" "$needs")
  if [ -n "$result" ]; then
    result="not run: $result"
  else
    limit=$((limit < total_seconds - SECONDS ? limit : total_seconds - SECONDS))
    export limit
    timeout -k 5 "$limit" bash "${BASH_SOURCE[0]}" --part "$name" > "$log" 2>&1 || status=$?
    case $status in
      0) result=passed ;;
      77) result="not run: $(sed -n 's/^NOT RUN: //p' "$log" | tail -n 1)" ;;
      124 | 137) result="cut off after $limit s"; failed=1 ;;
      *) result="failed (exit code $status): $(grep -v '^RESULT ' "$log" | tail -n 1 | cut -c 1-200)"; failed=1 ;;
    esac
    mapfile -t -O "${#numbers[@]}" numbers < <(sed -n 's/^RESULT //p' "$log")
  fi
  rows+=("| $title | ${result//|//} | $((SECONDS - start)) s | $([ -e "$log" ] && echo "$name.txt") |")
  echo "$title: $result ($((SECONDS - start)) s)" >&2
  write_summary
}

write_summary() {
  {
    echo "# First look at the GPU"
    echo
    echo "$(date '+%Y-%m-%d %H:%M'), $SECONDS s of at most $total_seconds s$([ $dry -eq 0 ] || echo ". Dry run: numbers are of the CPU and of small sizes")."
    echo
    printf '%s\n' '| part | result | time | log |' '|---|---|---|---|' "${rows[@]}"
    echo
    echo "## Numbers"
    echo
    [ ${#numbers[@]} -eq 0 ] || printf -- '- %s\n' "${numbers[@]}"
  } > "$report/summary.md"
}

run_part machine 30 nothing "Machine and cards"
run_part build 300 nothing "Build with CUDA and NCCL"
run_part versions 30 nothing "Versions"
run_part tests 150 card "Tests and golden data on one card"
run_part two_cards 100 card "Two ranks on two cards"
run_part sample 60 nothing "Training and chat on the sample"
run_part speed 240 nothing "Speed beside the peer, with and without the attention of cuDNN"
run_part profile 60 card "Profile of ten steps"
cat "$report/summary.md"
exit $failed
