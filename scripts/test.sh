#!/usr/bin/env bash
# The test suite, on a machine with nothing but Python 3.11 to 3.13. Arguments go to pytest.
source "$(dirname "$0")/environment.sh"

ruff check .
ruff format --check --quiet . || { echo "run: ruff format ." >&2; exit 1; }
# A process for each core: most of the time goes into compiling, which uses one.
exec python -m pytest -n auto --dist loadfile "$@"
