#!/bin/sh
# usage: gpu_scripts.sh PYTHON TEST    Runs the test with PYTHON, which has torch; without it, it is not run, with a word.
[ -x "$1" ] || { echo "NOT RUN: no Python at $1"; exit 77; }
exec "$1" "$2"
