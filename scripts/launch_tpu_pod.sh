#!/usr/bin/env bash
# Trains on a Cloud TPU slice of any size, with the same command on each of its hosts.
#
#   TPU=my-v5e-16 ZONE=us-west4-a scripts/launch_tpu_pod.sh --config stage2 \
#     --workdir /mnt/maed/stage2 --config.data.data_dir=/mnt/maed/data \
#     --config.body=/mnt/maed/body --config.init_from=/mnt/maed/stage1
#
# Run it in a checkout of this repository, with gcloud configured; it sends the committed files. The
# hosts need Python 3.11 to 3.13 (set PYTHON to its name; default: python3). `stage2` runs on 16
# chips unchanged; docs/training.md says what to change for more than 32. /mnt/maed stands for a file
# system that all hosts share (Filestore, or a bucket mounted with gcsfuse); datasets can also be on
# each host's own disk. Hosts find each other by themselves (--distributed). On a maintenance notice,
# all hosts save after the same step and exit; run the same command again, on a slice of any size.
set -euo pipefail
: "${TPU:?name the slice, TPU=...}" "${ZONE:?name its zone, ZONE=...}"

on_all_hosts() { gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$1"; }

git archive --format=tar.gz --output=/tmp/maed.tgz HEAD
gcloud compute tpus tpu-vm scp /tmp/maed.tgz "$TPU:/tmp/" --zone="$ZONE" --worker=all
on_all_hosts "mkdir -p ~/maed && cd ~/maed && tar -xzf /tmp/maed.tgz &&
  ${PYTHON:-python3} -m venv .venv &&
  .venv/bin/pip install -q --require-hashes -r scripts/lock.txt &&
  .venv/bin/pip install -q '.[tpu]'"
on_all_hosts "cd ~/maed && .venv/bin/maed train --distributed $(printf '%q ' "$@")"
