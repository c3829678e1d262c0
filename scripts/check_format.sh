#!/usr/bin/env bash
# Checks the layout of all C++ files with clang-format 14, the version that .clang-format is written for.
# usage: scripts/check_format.sh; exits with 1 if a file differs, with 77 if clang-format 14 is not installed.
set -euo pipefail
cd "$(dirname "$0")/.."
for name in clang-format-14 clang-format; do
  if command -v "$name" > /dev/null && "$name" --version | grep -q 'version 14\.'; then
    git ls-files -co --exclude-standard -- '*.h' '*.cpp' '*.inl' | xargs -r ls -d 2> /dev/null | xargs -r "$name" --dry-run --Werror
    echo "every C++ file has the layout of .clang-format"
    exit 0
  fi
done
echo "SKIPPED, NOT RUN: clang-format 14 is not installed (apt-get install clang-format-14)"
exit 77
