#!/usr/bin/env bash
# Trains on a Slurm cluster with one process per GPU. Adapt the #SBATCH lines to your cluster.
#
#   sbatch scripts/launch_slurm.sh --config stage2 --workdir runs/stage2 \
#     --config.data.data_dir=data --config.init_from=runs/stage1
#
# All nodes must see the work directory, the datasets, the body, and the environment that is active
# when you submit this. JAX finds the other processes by itself (--distributed). Slurm sends SIGTERM
# two minutes before the time limit: the run saves and exits with status 143, and the job requeues
# itself.
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
