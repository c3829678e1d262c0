#!/usr/bin/env bash
# Runs one GoogleTest filter as a CTest entry. Fails if the filter selects no test. Exits with 77 (skipped) if every selected
# test was skipped.
# usage: gtest_entry.sh BINARY FILTER
set -uo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$1" --gtest_filter="$2" --gtest_color=no 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
[ "$status" -eq 0 ] || exit "$status"
if grep -q '^\[==========\] 0 tests' "$log" || grep -q 'Running 0 tests' "$log"; then
  echo "error: filter '$2' selects no test of $1"
  exit 1
fi
if grep -q '^\[  SKIPPED \]' "$log" && ! grep -qE '^\[       OK \]' "$log"; then
  exit 77
fi
exit 0
