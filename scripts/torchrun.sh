#!/usr/bin/env bash
# Runs torchrun from the set-up's LibTorch and installs it first if need be. Arguments go to torchrun. torchrun loads all CUDA libraries,
# on a machine without a card too: the CPU set-up has it only from MINIMIND_TORCH_INDEX (see scripts/setup.sh); else the large wheel comes.
# usage: scripts/torchrun.sh [torchrun arguments] PROGRAM     e.g.  scripts/torchrun.sh --nproc_per_node 2 build/release/bin/pretrain_vlm
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
given=${LIBTORCH:-}
if [ -z "${LIBTORCH:-}" ] && [ -n "${MINIMIND_TORCH_INDEX:-}" ]; then
  fetch_libtorch "$(choose_torch)"
else
  fetch_libtorch "$(choose_cuda)"
fi
torchrun=$LIBTORCH/../../../../bin/torchrun
[ -x "$torchrun" ] || die "$torchrun: expected torchrun of the torch wheel, found none; unset LIBTORCH, or start with --processes, srun or mpirun"
# A LIBTORCH of the user's may lack what torchrun loads, for example the LibTorch of the CPU set-up.
if [ -n "$given" ] && ! said=$("$torchrun" --help 2>&1 > /dev/null); then
  die "$torchrun: expected a torchrun that starts, found: ${said##*$'\n'}; unset LIBTORCH (the set-up then installs all that torchrun loads), or start with --processes, srun or mpirun"
fi
exec "$torchrun" --no-python "$@"
