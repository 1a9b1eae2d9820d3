#!/usr/bin/env bash
# From nothing to a trained, evaluated MAED and a reconstructed video, on a laptop's CPU.
#
#   scripts/demo.sh [VIDEO]
#
# Makes a small dataset of rendered mannequins, trains both stages of a small network on it, prints
# the table of the test split, and reconstructs a rendered video; VIDEO too, where given. Everything
# lands in demo/. What is done already is not done again, so an interrupted demo goes on.
video=${1:+$(realpath -- "$1")}
if [ -n "$video" ] && [ ! -f "$video" ]; then
  echo "$1 is not there; give the path of a video, or nothing" >&2
  exit 1
fi
source "$(dirname "$0")/environment.sh"

step() { printf '\n== %s\n' "$*"; }

step "1/6 Rendering the dataset (demo/data)"
maed data build mannequins --config demo --data_dir demo/data
maed data check demo/data/mannequins/demo/*/ --split test --out demo/dataset.png

step "2/6 Stage 1: learning from images (demo/stage1)"
maed train --config demo:stage1 --workdir demo/stage1

step "3/6 Stage 2: learning from clips and images (demo/stage2)"
maed train --config demo:stage2 --workdir demo/stage2

step "4/6 Evaluating the checkpoint on the test split"
maed eval --checkpoint demo/stage2 --data_dir demo/data --dataset mannequins/demo --split test \
  --json demo/results.json

step "5/6 Reconstructing a rendered video of two people it has never seen (demo/rendered)"
[ -f demo/rendered.mp4 ] || maed data video --seed 7 --out demo/rendered.mp4
maed predict demo/rendered.mp4 --checkpoint demo/stage2 --out demo/rendered

if [ -n "$video" ]; then
  step "6/6 Reconstructing $video (demo/yours)"
  maed predict "$video" --checkpoint demo/stage2 --out demo/yours
else
  step "6/6 No video of yours was given: scripts/demo.sh VIDEO reconstructs one"
fi

cat <<EOF

Look at
  demo/dataset.png             what it learned from
  demo/rendered/overlay.mp4    bodies over the rendered video${video:+
  demo/yours/overlay.mp4       bodies over yours (it has only ever seen mannequins)}
  demo/results.json            the table
  tensorboard --logdir demo    how it learned
EOF
