#!/usr/bin/env bash
# Makes the sample data, trains all stages on it and evaluates them on images that training never saw. The last line is one
# JSON object; it holds the environment variable BUILD_SECONDS too.
# usage: scripts/train_sample.sh BIN_DIR WORK_DIR
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: $0 BIN_DIR WORK_DIR" >&2; exit 2; }
bin=$1
work=$2
sample=$work/sample
start=$(date +%s.%N)
mkdir -p "$work"

step() { printf '\n\033[1m== %s\033[0m\n' "$*" >&2; }
inputs=(--tokenizer "$sample/tokenizer.model" --clip_dir "$sample/clip" --images_dir "$sample/images")
# A small model with a random encoder needs much larger learning rates than the defaults, which suit the released models.
training=("${inputs[@]}" --out_dir "$work" --feature_cache "$work/features" --feature_cache_dtype float16 --max_seq_len 256
  --num_workers 1 --dtype float32 --grad_clip 0.1 --warmup_iters 50 --save_interval 100000 --log_interval 50 --keep_last 1 --overwrite)
pretrained=$work/128_vlm_pretrain.pth
tuned=$work/128_vlm_sft.pth
multi=$work/128_vlm_sft_multi.pth

step "Making the sample"
"$bin/make_sample_data" --out "$sample"
step "Pretraining on captions"
"$bin/pretrain_vlm" "${training[@]}" --data_path "$sample/pretrain.json" --init_from none --batch_size 16 --dim 128 --n_layers 3 --n_heads 4 --n_kv_heads 2 \
  --initializer_range 0.08 --epochs 1 --learning_rate 2e-3 --projection_learning_rate 6e-4
step "Instruction tuning"
"$bin/sft_vlm" "${training[@]}" --data_path "$sample/sft.json" --init_from "$pretrained" --batch_size 16 --epochs 2 --learning_rate 2e-3 --projection_learning_rate 5e-4
step "Multi-image tuning"
"$bin/sft_vlm" --multi "${training[@]}" --data_path "$sample/sft_multi.json" --init_from "$tuned" --batch_size 8 --learning_rate 2e-3 --projection_learning_rate 3e-4 --epochs 1

step "Evaluation on images that were held out"
# evaluate_part NAME KIND CHECKPOINT FILE [flag…]: evaluates, keeps the output and sets NAME to the accuracy.
evaluate_part() {
  local name=$1 kind=$2 checkpoint=$3 file=$4
  shift 4
  "$bin/evaluate" "${inputs[@]}" --checkpoint "$checkpoint" --kind "$kind" --data_path "$sample/$file" --attributes "$sample/attributes.json" "$@" \
    | tee "$work/$name.txt" | sed '$d'
  accuracy=$(tail -n 1 "$work/$name.txt" | python3 -c 'import json, sys; print(json.load(sys.stdin)["accuracy"])')
  printf '%s %s\n' "$name" "$accuracy" >&2
  printf -v "$name" '%s' "$accuracy"
}
evaluate_part held_out_accuracy sft "$tuned" held_out.json --show 6
evaluate_part swapped_image_accuracy sft "$tuned" held_out.json --swap_images --show 0
evaluate_part unseen_combination_accuracy sft "$tuned" unseen.json --show 3
evaluate_part multi_accuracy multi "$multi" multi_held_out.json --show 2
seconds=$(python3 -c 'import sys, time; print(round(time.time() - float(sys.argv[1]), 1))' "$start")

cat <<TEXT

loss curve: $work/index.html
chat with the trained model: $bin/eval_chat --checkpoint $tuned --clip_dir $sample/clip --tokenizer $sample/tokenizer.model --image $sample/images/held_out_000000.jpg
TEXT
python3 - "$held_out_accuracy" "$swapped_image_accuracy" "$unseen_combination_accuracy" "$multi_accuracy" "$seconds" "${BUILD_SECONDS:-0}" <<'PYTHON'
import json, sys
names = ("held_out_accuracy", "swapped_image_accuracy", "unseen_combination_accuracy", "multi_accuracy", "train_seconds", "build_seconds")
print(json.dumps(dict(zip(names, map(float, sys.argv[1:])))))
PYTHON
