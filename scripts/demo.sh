#!/usr/bin/env bash
# Trains and evaluates a small MAED from scratch and reconstructs a video, on a laptop's CPU.
#
#   scripts/demo.sh [VIDEO]
#
# Renders a small dataset of mannequins, trains both stages of a small network on it, prints the
# results on the test split, and reconstructs a rendered video, plus VIDEO if given. All output goes
# to demo/. Finished steps are not repeated, so an interrupted demo resumes.
video=${1:+$(realpath -- "$1")}
if [ -n "$video" ] && [ ! -f "$video" ]; then
  echo "$1 is not there; give the path of a video, or nothing" >&2
  exit 1
fi
source "$(dirname "$0")/environment.sh"

step() { printf '\n== %s\n' "$*"; }

step "1/6 Rendering the dataset (demo/data)"
maed data build mannequins --config demo --data_dir demo/data
maed data build mannequins --config demo_stills --data_dir demo/data
maed data check demo/data/mannequins/demo --split test --out demo/dataset.png

step "2/6 Stage 1: learning from images (demo/stage1)"
maed train --config demo:stage1 --workdir demo/stage1

step "3/6 Stage 2: learning from clips and images (demo/stage2)"
maed train --config demo:stage2 --workdir demo/stage2

step "4/6 Evaluating the checkpoint on the test split"
maed eval --checkpoint demo/stage2 --data_dir demo/data --dataset mannequins/demo --split test \
  --json demo/results.json

reconstruct() {
  maed predict "$1" --checkpoint demo/stage2 --out "$2" --smooth --export glb --attention
  maed view "$2" --save "$2/viewer.html"
}

step "5/6 Reconstructing a rendered video of two people it has never seen (demo/rendered)"
[ -f demo/rendered.mp4 ] || maed data video --seed 11 --out demo/rendered.mp4
reconstruct demo/rendered.mp4 demo/rendered

if [ -n "$video" ]; then
  step "6/6 Reconstructing $video (demo/yours)"
  reconstruct "$video" demo/yours
else
  step "6/6 No video of yours was given: scripts/demo.sh VIDEO reconstructs one"
fi

cat <<EOF

Look at
  demo/dataset.png             what it learned from
  demo/rendered/viewer.html    the rendered video, its bodies in 3D, and what the model looked at${video:+
  demo/yours/viewer.html       yours (it has only ever seen mannequins)}
  demo/results.json            the table
  tensorboard --logdir demo    how it learned
EOF
