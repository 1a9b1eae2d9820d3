#!/usr/bin/env bash
# Trains on the GPUs of one machine in one process: all of them, or those in CUDA_VISIBLE_DEVICES.
#
#   scripts/launch_gpus.sh --config stage2 --workdir runs/stage2 --config.data.data_dir=data ...
#   CUDA_VISIBLE_DEVICES=0,1 scripts/launch_gpus.sh ...
#
# Takes the arguments of `maed train`. If a run dies (because of a faulty card or driver), it is
# restarted from its last checkpoint. It is not restarted if it was told to stop, failed with a user
# error (status 1), or died three times within ten minutes.
set -u
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}

deaths=0
trap 'kill -TERM "$child" 2>/dev/null' TERM INT  # maed saves and exits; we report its status
while true; do
  begin=$(date +%s)
  maed train "$@" &
  child=$!
  wait "$child"; status=$?
  while kill -0 "$child" 2>/dev/null; do wait "$child"; status=$?; done  # a signal interrupted the wait
  case $status in 0 | 1 | 2 | 130 | 143) exit "$status" ;; esac
  [ $(($(date +%s) - begin)) -gt 600 ] && deaths=0
  deaths=$((deaths + 1))
  [ "$deaths" -ge 3 ] && exit "$status"
  echo "launch_gpus: status $status, starting again" >&2
done
