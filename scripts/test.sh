#!/usr/bin/env bash
# The test suite, on a machine with nothing but Python 3.11 or newer. Arguments go to pytest.
source "$(dirname "$0")/environment.sh"

ruff check .
ruff format --check --quiet . || { echo "run: ruff format ." >&2; exit 1; }
exec python -m pytest "$@"
