#!/usr/bin/env bash
# Trains on a Slurm cluster, one process for each GPU. Change the lines of #SBATCH to your cluster's.
#
#   sbatch scripts/launch_slurm.sh --config stage2 --workdir runs/stage2 \
#     --config.data.data_dir=data --config.init_from=runs/stage1
#
# Work directory, datasets and body lie where all nodes see them, and so does the environment that
# is active when this is submitted. JAX finds the other processes by itself (--distributed). Slurm
# sends SIGTERM two minutes before the time is over: the run saves, ends with status 143, and the
# job puts itself back into the queue.
#SBATCH --job-name=maed
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=maed-%j.log
set -u
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY  # JAX's runtime would use them

srun --kill-on-bad-exit=1 maed train --distributed --config.data.workers=10 "$@"
status=$?
[ "$status" -eq 143 ] && scontrol requeue "$SLURM_JOB_ID"
exit "$status"
