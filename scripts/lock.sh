#!/usr/bin/env bash
# Rewrites scripts/lock.txt: what to install, with the hashes of all files. Needs uv.
#
#   scripts/lock.sh             keeps the present versions as far as setup.py allows
#   scripts/lock.sh --upgrade   takes the newest versions
#
# One file covers Linux and macOS on x86-64 and ARM, with Python 3.11 to 3.13. Afterwards, run the
# tests and scripts/licences.py --write.
set -euo pipefail
cd "$(dirname "$0")/.."

head='# What scripts/environment.sh installs, with the hashes of its files. Written by scripts/lock.sh.'
printf 'setuptools>=77\n' | uv pip compile --quiet --universal --python-version 3.11 \
  --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
  --extra viz --extra test "$@" setup.py - --output-file scripts/lock.txt
printf '%s\n%s\n' "$head" "$(cat scripts/lock.txt)" > scripts/lock.txt.part
mv scripts/lock.txt.part scripts/lock.txt
