#!/usr/bin/env bash
# Runs the program of this link's name on the make-believe card cuda:1, unless an argument names a device. The programs that
# need no card run as they are. Environment: MINIMIND_FAKE_CUDA, the library; MINIMIND_REAL_BIN, the folder of the programs;
# MINIMIND_DRY_ARGUMENTS, other arguments than --device cuda:1.
program=$(basename "$0")
arguments=("$@")
case $program in
  pretrain_vlm | sft_vlm | eval_chat | evaluate | web_chat)
    export LD_PRELOAD=$MINIMIND_FAKE_CUDA FAKE_CUDA_STRICT=1
    [[ " $* " == *" --device"* ]] || arguments+=(${MINIMIND_DRY_ARGUMENTS:---device cuda:1}) ;;
esac
exec -a "$0" "$MINIMIND_REAL_BIN/$program" "${arguments[@]}"
