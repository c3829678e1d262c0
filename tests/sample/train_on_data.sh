#!/usr/bin/env bash
# Trains all three stages on the committed sample and evaluates: the losses must fall, and each stage must leave its file.
# usage: train_on_data.sh BIN_DIR DATA_DIR
set -euo pipefail
bin=$1
data=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
inputs=(--tokenizer "$data/tokenizer.model" --clip_dir "$data/clip" --images_dir "$data/images")
training=("${inputs[@]}" --out_dir "$work" --feature_cache "$work/features" --max_seq_len 256 --batch_size 16 --num_workers 1
  --dtype float32 --device cpu --log_interval 1 --learning_rate 3e-3)
"$bin/pretrain_vlm" "${training[@]}" --data_path "$data/pretrain.json" --init_from none --dim 64 --n_layers 2 --n_heads 4 --n_kv_heads 2 \
  --supervise all --epochs 6
"$bin/sft_vlm" "${training[@]}" --data_path "$data/sft.json" --init_from "$work/64_vlm_pretrain.pth" --epochs 12
"$bin/sft_vlm" --multi "${training[@]}" --data_path "$data/sft_multi.json" --init_from "$work/64_vlm_sft.pth" --epochs 12
"$bin/evaluate" "${inputs[@]}" --checkpoint "$work/64_vlm_sft.pth" --kind sft --data_path "$data/held_out.json" \
  --attributes "$data/attributes.json" | tail -n 1 > "$work/sft.json"
"$bin/evaluate" "${inputs[@]}" --checkpoint "$work/64_vlm_sft_multi.pth" --kind multi --data_path "$data/multi_held_out.json" \
  --attributes "$data/attributes.json" | tail -n 1 > "$work/multi.json"
python3 - "$work" "$data" <<'PYTHON'
import json, pathlib, sys

work, data = map(pathlib.Path, sys.argv[1:])
losses = {}
for line in (work / "metrics.jsonl").read_text().splitlines():
    record = json.loads(line)
    losses.setdefault(record["stage"], []).append(record["loss"])
print({stage: (values[0], values[-1]) for stage, values in losses.items()})
assert set(losses) == {"pretrain", "sft", "sft_multi"}, losses.keys()
for stage, values in losses.items():
    assert values[-1] < 0.7 * values[0], f"{stage}: expected the loss to fall by 30 %, found {values[0]} -> {values[-1]}"
for name, truth in (("sft.json", "held_out.json"), ("multi.json", "multi_held_out.json")):
    result = json.loads((work / name).read_text())
    expected = len(json.loads((data / truth).read_text()))
    assert result["samples"] == expected, f"{name}: expected {expected} samples, found {result}"
    assert 0 <= result["accuracy"] <= 1, result
PYTHON
