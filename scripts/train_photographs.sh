#!/usr/bin/env bash
# Trains the 27 M model (width 512, 8 layers) on photographs whose file names are their captions, then asks for every name. The
# encoder has full size and seeded random weights, so that no released weights are needed.
# usage: scripts/train_photographs.sh IMAGES TOKENIZER [OUT]
#   IMAGES     folder of images, for example 一个熊.png
#   TOKENIZER  the released tokenizer.json or its folder
#   OUT        folder of the results (default out/photographs)
# Environment: BIN (default build/release/bin), EPOCHS (default 30), DTYPE (default: bfloat16 if the processor has it, else float32)
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
[ $# -ge 2 ] || die "usage: scripts/train_photographs.sh IMAGES TOKENIZER [OUT]"
images=$1
tokenizer=$2
out=${3:-out/photographs}
bin=${BIN:-$minimind_root/build/release/bin}
if [ -z "${DTYPE:-}" ]; then
  if grep -qm1 avx512_bf16 /proc/cpuinfo; then DTYPE=bfloat16; else DTYPE=float32; fi
fi
[ -x "$bin/pretrain_vlm" ] || die "$bin/pretrain_vlm: expected the built program, found none; run scripts/quickstart.sh first or name the folder in BIN"
if [ -z "${LIBTORCH:-}" ]; then
  if [ -e "$minimind_cache/torch-$torch_version-cuda/.complete" ]; then fetch_libtorch cuda; else fetch_libtorch "$(choose_torch)"; fi
fi
python=${MINIMIND_PYTHON:-$LIBTORCH/../../../../bin/python}
mkdir -p "$out"

say "Full-size files with random weights"
if ! "$python" -c 'import torch, numpy' 2> /dev/null; then
  "$python" -m pip install --quiet --disable-pip-version-check numpy typing_extensions sympy networkx jinja2 filelock fsspec
fi
"$python" "$minimind_root/scripts/full_size_files.py" "$out"
python3 - "$images" "$out/photographs.json" <<'PY'
import json, pathlib, sys
names = sorted(p.name for p in pathlib.Path(sys.argv[1]).iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
samples = [dict(id=pathlib.Path(n).stem, image=n, conversations=[
    {"from": "human", "value": "<image>\n这个图片描述的是什么内容？"}, {"from": "gpt", "value": pathlib.Path(n).stem}]) for n in names]
pathlib.Path(sys.argv[2]).write_text(json.dumps(samples, ensure_ascii=False, indent=1))
print(f"{len(samples)} photographs")
PY

say "Training 512+8 ($DTYPE)"
start=$(date +%s)
/usr/bin/env time -v -o "$out/time.txt" true 2> /dev/null && measure=(/usr/bin/env time -v -o "$out/time.txt") || measure=()
"${measure[@]}" "$bin/pretrain_vlm" --data_path "$out/photographs.json" --images_dir "$images" --tokenizer "$tokenizer" \
  --clip_dir "$out/clip-vit-base-patch32" --init_from "$out/512_llm.pth" --out_dir "$out" --overwrite --dim 512 --n_layers 8 --dtype "$DTYPE" \
  --epochs "${EPOCHS:-30}" --batch_size 10 --learning_rate 4e-4 --log_interval 5 --save_interval 1000000
echo "training: $(($(date +%s) - start)) s, $(grep -s 'Maximum resident' "$out/time.txt" | tr -s ' \t' ' ' || true)"

say "Asking for every name"
"$bin/evaluate" --checkpoint "$out/512_vlm_pretrain.pth" --data_path "$out/photographs.json" --images_dir "$images" --tokenizer "$tokenizer" \
  --clip_dir "$out/clip-vit-base-patch32" --kind pretrain --show 10
