#!/usr/bin/env bash
# Lets the `tensorboard` package read our event files: with the system's Python if it has the package, else in a virtual environment
# where it can be installed; skipped (exit 77) otherwise. usage: tensorboard.sh TEST_BINARY VENV
set -uo pipefail
binary=$1 venv=$2
has_package() { "$1" -c 'import tensorboard' >/dev/null 2>&1; }
python=${MINIMIND_METRICS_PYTHON:-python3}
if ! has_package "$python"; then
  python=$venv/bin/python
  if ! has_package "$python"; then
    { python3 -m venv "$venv" && "$python" -m pip install --quiet tensorboard; } >"$venv.log" 2>&1 || true
  fi
fi
if ! has_package "$python"; then
  echo "SKIPPED, NOT RUN: the package tensorboard cannot be installed here (see $venv.log)"
  exit 77
fi
MINIMIND_METRICS_PYTHON=$python exec "$(dirname "$0")/../../scripts/gtest_entry.sh" "$binary" 'EventFile.IsReadByTensorBoard'
