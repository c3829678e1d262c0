#!/usr/bin/env bash
# A small model trained for some minutes on a generated sample, good enough that its held-out loss means something.
# usage: chat_model.sh BIN_DIR SAMPLE_DIR OUT_DIR
set -euo pipefail
bin=$1 sample=$2 out=$3
[ -e "$sample/held_out.json" ] || "$bin/make_sample_data" --out "$sample"
work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT
training=(--tokenizer "$sample/tokenizer.model" --clip_dir "$sample/clip" --images_dir "$sample/images" --out_dir "$work" --max_seq_len 256
  --batch_size 16 --num_workers 1 --dtype float32 --grad_clip 0.1 --warmup_iters 50 --save_interval 100000 --log_interval 50 --keep_last 1)
"$bin/pretrain_vlm" "${training[@]}" --data_path "$sample/pretrain.json" --init_from none --dim 128 --n_layers 4 --n_heads 4 --n_kv_heads 2 \
  --initializer_range 0.08 --epochs 1 --learning_rate 2e-3 --projection_learning_rate 6e-4 --max_steps 500
"$bin/sft_vlm" "${training[@]}" --data_path "$sample/sft.json" --init_from "$work/128_vlm_pretrain.pth" --epochs 1 --learning_rate 2e-3 \
  --projection_learning_rate 5e-4 --max_steps 500
rm -rf "$out"
mkdir -p "$out"
mv "$work/128_vlm_sft.pth" "$out/"
[ ! -e "$work/128_vlm_sft.json" ] || mv "$work/128_vlm_sft.json" "$out/"
