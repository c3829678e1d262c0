#!/usr/bin/env bash
# Builds examples/embed in four ways and asks a small model with each program.
# usage: embed_test.sh SOURCE_DIR BUILD_DIR COMPILER      (environment: LIBTORCH, MINIMIND_CUDA)
set -euo pipefail
source=$1
build=$2
compiler=$3
data=$source/data/sample
work=$build/embed
mkdir -p "$work"
rm -rf "$work/model" "$work/out" "$work/prefix" "$work/package"

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

quietly() {  # COMMAND…: its output is shown only if it fails
  "$@" > "$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; die "failed: $*"; }
}

# The header needs neither LibTorch nor another library on the include path.
echo '#include "minimind/chat/chat.h"' | "$compiler" -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I "$source/include" -x c++ -

quietly "$build/bin/pretrain_vlm" --data_path "$data/pretrain.json" --images_dir "$data/images" --tokenizer "$data/tokenizer.model" \
  --clip_dir "$data/clip" --out_dir "$work/out" --init_from none --dim 32 --n_layers 1 --n_heads 4 --n_kv_heads 2 --batch_size 8 \
  --num_workers 1 --epochs 20 --learning_rate 5e-3 --max_seq_len 256 --supervise all --device cpu
quietly "$build/bin/export_model" --checkpoint "$work/out/32_vlm_pretrain.pth" --out "$work/model" --tokenizer "$data/tokenizer.model"
cp -r "$data/clip" "$work/model/clip"
image=$(find "$data/images" -type f | sort | head -n 1)
question='What is it?'
expected=$("$build/bin/eval_chat" --checkpoint "$work/model" --tokenizer "$work/model" --clip_dir "$work/model/clip" --device cpu \
  --image "$image" --prompt "$question" --temperature 0 --max_new_tokens 64 2> "$work/log")

# ask WAY PROGRAM [same]: with `same`, the answer must be that of eval_chat. Other compiler options may round otherwise.
ask() {
  local answer
  answer=$("$2" "$work/model" "$image" "$question") || die "$1: the program failed"
  [ -n "$answer" ] || die "$1: expected an answer, found none"
  [ "${3:-}" != same ] || [ "$answer" = "$expected" ] || die "$1: expected '$expected', found '$answer'"
  echo "$1: $answer"
}

configure() {  # FOLDER OPTION…
  local folder=$1
  shift
  quietly cmake -G Ninja -S "$source/examples/embed" -B "$folder" -DCMAKE_CXX_COMPILER="$compiler" "$@"
  quietly cmake --build "$folder" --target embed
}

quietly cmake --install "$build" --prefix "$work/prefix"
configure "$work/package" -DMINIMIND_FROM=package -DCMAKE_PREFIX_PATH="$work/prefix"
ask find_package "$work/package/embed" same

modules=$(dirname "$(find "$work/prefix" -name minimind.pc)")
# shellcheck disable=SC2046  # the flags are words
"$compiler" -std=c++20 "$source/examples/embed/main.cpp" -o "$work/package/embed_by_pkg_config" \
  $(PKG_CONFIG_PATH=$modules pkg-config --static --cflags --libs minimind)
ask pkg-config "$work/package/embed_by_pkg_config" same

# Both compile the library. They share a build folder and no optimisation, so that this costs a few minutes once.
for way in subdirectory fetch; do
  configure "$work/source" -DMINIMIND_FROM=$way -DFETCHCONTENT_SOURCE_DIR_MINIMIND="$source" -DMINIMIND_CUDA="$MINIMIND_CUDA" \
    -DCMAKE_UNITY_BUILD=ON -DCMAKE_BUILD_TYPE=None
  ask $way "$work/source/embed"
done

# Without LIBTORCH, the package says what to do.
if env -u LIBTORCH cmake -G Ninja -S "$source/examples/embed" -B "$work/without" -DCMAKE_PREFIX_PATH="$work/prefix" > "$work/log" 2>&1; then
  die "expected find_package to fail without LIBTORCH"
fi
grep -q 'DLIBTORCH=' "$work/log" || die "expected the cure -DLIBTORCH=… in the message, found: $(cat "$work/log")"
