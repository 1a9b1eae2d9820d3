#!/usr/bin/env bash
# Trains on the GPUs of one machine: one process, all of them, or those of CUDA_VISIBLE_DEVICES.
#
#   scripts/launch_gpus.sh --config stage2 --workdir runs/stage2 --config.data.data_dir=data ...
#   CUDA_VISIBLE_DEVICES=0,1 scripts/launch_gpus.sh ...
#
# Arguments are those of `maed train`. A run that dies (a fault of a card or a driver) is started
# again and goes on from its last checkpoint; one that is told to stop, is wrongly asked for (status
# 1), or dies three times within ten minutes, is not.
set -u
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}

deaths=0
trap 'kill -TERM "$child" 2>/dev/null' TERM INT  # maed saves and ends; we report how it ended
while true; do
  begin=$(date +%s)
  maed train "$@" &
  child=$!
  wait "$child"; status=$?
  while kill -0 "$child" 2>/dev/null; do wait "$child"; status=$?; done  # a signal cut the wait
  case $status in 0 | 1 | 2 | 130 | 143) exit "$status" ;; esac
  [ $(($(date +%s) - begin)) -gt 600 ] && deaths=0
  deaths=$((deaths + 1))
  [ "$deaths" -ge 3 ] && exit "$status"
  echo "launch_gpus: status $status, starting again" >&2
done
