# Sourced by demo.sh and test.sh: creates the virtual environment .venv and puts it on PATH. Installs
# exactly what was tested: only files whose hashes are in lock.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=.venv/bin/python
[ -x "$python" ] || python=${PYTHON:-python3}
# The versions that lock.txt supports.
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || {
  echo "Python 3.11, 3.12 or 3.13 is needed, which $python is not;" \
    "name one with PYTHON=/path/to/python3.13" >&2
  exit 1
}

stamp=.venv/installed-from
wanted=$(cat setup.py scripts/lock.txt | cksum)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  echo "Installing maed_jax and what it needs into .venv (once; a few minutes)"
  [ -x .venv/bin/python ] || "$python" -m venv .venv || {
    echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv" >&2
    exit 1
  }
  install() { .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
  # Source packages are built with the locked setuptools too.
  awk '/^setuptools==/ { on = 1 } on { print } !/\\$/ { on = 0 }' scripts/lock.txt > .venv/build.txt
  install --require-hashes --requirement .venv/build.txt
  install --require-hashes --no-build-isolation --requirement scripts/lock.txt
  install --no-deps --no-build-isolation --no-index --editable .
  .venv/bin/python -m pip check
  echo "$wanted" > "$stamp"
fi
PATH="$PWD/.venv/bin:$PATH"
