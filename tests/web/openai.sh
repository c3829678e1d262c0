#!/usr/bin/env bash
# Runs openai_test.py with the system's Python if it has the package `openai`, else in a virtual environment. Exits with 77 (skipped)
# if the package cannot be installed there. usage: openai.sh VENV
set -uo pipefail
venv=$1
has_package() { "$1" -c 'import openai' > /dev/null 2>&1; }
python=python3
if ! has_package "$python"; then
  python=$venv/bin/python
  if ! has_package "$python"; then
    { python3 -m venv "$venv" && "$python" -m pip install --quiet 'openai>=1.60,<3'; } > "$venv.log" 2>&1 || true
  fi
fi
if ! has_package "$python"; then
  echo "SKIPPED, NOT RUN: the package openai cannot be installed here (see $venv.log)"
  exit 77
fi
exec "$python" "$(dirname "$0")/openai_test.py" -v
