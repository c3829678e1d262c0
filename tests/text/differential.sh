#!/usr/bin/env bash
# Compares our tokenizer with Python's `tokenizers` (differential.py). The Python comes from MINIMIND_PYTHON, else from beside LIBTORCH.
# usage: differential.sh ENCODE_LINES_BINARY
set -uo pipefail
python=${MINIMIND_PYTHON:-${LIBTORCH:-}/../../../../bin/python}
if ! "$python" -c 'import tokenizers' 2>/dev/null; then
  echo "NOT RUN: $python has no package tokenizers; set MINIMIND_PYTHON to a Python with tokenizers==0.22.2"
  exit 77
fi
exec "$python" "$(dirname "$0")/differential.py" "$1"
