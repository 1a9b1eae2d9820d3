#!/usr/bin/env bash
# Runs the test suite; needs only Python 3.11 to 3.13. Arguments are passed to pytest.
source "$(dirname "$0")/environment.sh"

ruff check .
ruff format --check --quiet . || { echo "run: ruff format ." >&2; exit 1; }
# One process per core: most of the time is compilation, which uses one core.
exec python -m pytest -n auto --dist loadfile "$@"
