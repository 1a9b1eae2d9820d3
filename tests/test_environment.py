"""Which Python `scripts/environment.sh` takes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "environment.sh"


def say_with_python(version, root):
    """What the script says where python3 is of another version, which makes no environment."""
    (root / "scripts").mkdir()
    shutil.copy(SCRIPT, root / "scripts")
    (root / "setup.py").touch()
    (root / "scripts" / "lock.txt").touch()
    program = f"import sys; sys.version_info = {version}; exec(sys.argv[2])"
    python = root / "python"
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -c \'{program}\' "$@"\n')
    python.chmod(0o755)
    command = ["bash", str(root / "scripts" / "environment.sh")]
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(python)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 1
    return ended.stderr


@pytest.mark.parametrize("version", [(3, 10, 9), (3, 14, 0)])
def test_a_python_that_the_lock_file_is_not_for_is_refused(version, tmp_path):
    assert say_with_python(version, tmp_path).startswith("Python 3.11, 3.12 or 3.13 is needed")


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 13, 9)])
def test_the_others_are_taken(version, tmp_path):
    assert say_with_python(version, tmp_path).startswith("Python's venv module is missing")
