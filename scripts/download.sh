#!/usr/bin/env bash
# Downloads the real weights and data into the folders that the programs read by default. See --help.
exec python3 "$(dirname "${BASH_SOURCE[0]}")/download.py" "$@"
