#!/usr/bin/env bash
# Wrong usage exits with 2, bad input with 1. Each writes one line on stderr that names the place, and nothing on stdout.
# usage: exit_codes.sh EVAL_CHAT EVALUATE
set -uo pipefail
eval_chat=$1 evaluate=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
# expect CODE WORD COMMAND…
expect() {
  local code=$1 word=$2
  shift 2
  timeout 60 "$@" > "$work/out" 2> "$work/err" < /dev/null
  local found=$?
  if [ "$found" -ne "$code" ] || ! grep -qF -- "$word" "$work/err" || [ -s "$work/out" ] || [ "$(grep -c '^error: ' "$work/err")" -ne 1 ]; then
    echo "expected exit $code and '$word', found exit $found: $*"
    cat "$work/out" "$work/err"
    failures=$((failures + 1))
  fi
}
echo 'no weights' > "$work/broken.pth"
echo '[{"id": 1,' > "$work/broken.json"
expect 2 --no_such_flag "$eval_chat" --no_such_flag
expect 2 temperature "$eval_chat" --temperature -1
expect 2 temperature "$eval_chat" --temperature warm
expect 2 repetition_penalty_mode "$eval_chat" --repetition_penalty_mode sideways
expect 2 --image_dir "$eval_chat" --image a.png --image_dir folder
expect 1 "$work/missing.pth" "$eval_chat" --checkpoint "$work/missing.pth"
expect 1 "$work/broken.pth" "$eval_chat" --checkpoint "$work/broken.pth"
expect 1 device "$eval_chat" --device tpu
expect 2 kind "$evaluate" --kind other
expect 2 show "$evaluate" --show -1
expect 1 --data_path "$evaluate" --images_dir "$work"
expect 1 --images_dir "$evaluate" --data_path "$work/broken.json"
[ "$failures" -eq 0 ] && echo "all exit codes are right"
exit "$failures"
