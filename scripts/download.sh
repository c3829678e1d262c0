#!/usr/bin/env bash
# Brings the real weights and data into the folders that the programs expect by default. See --help.
exec python3 "$(dirname "${BASH_SOURCE[0]}")/download.py" "$@"
