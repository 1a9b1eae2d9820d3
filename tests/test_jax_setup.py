import os
import platform
import subprocess
import sys

import pytest

REPEATED = """\
import resource
import sys
import threading

import numpy as np

from maed_jax.jax_setup import keep_memory

def faults(megabytes, times):
    def work():
        for _ in range(times):
            np.ones(megabytes << 17)
    work()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=work)  # by default, other threads have their own arenas
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "keep":
    assert keep_memory()
print(faults(64, 4) * resource.getpagesize() / 2**20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's parameters")
def test_freed_memory_is_not_mapped_and_cleared_again():
    def megabytes(how):
        run = [sys.executable, "-c", REPEATED, how]
        env = os.environ | {"NUMPY_MADVISE_HUGEPAGE": "0"}  # NumPy uses huge pages, XLA does not
        return float(subprocess.run(run, check=True, capture_output=True, env=env).stdout)

    assert megabytes("keep") < 16 < megabytes("leave")


HOMELESS = """\
import pwd

import jax

from maed_jax.jax_setup import configure

def nobody(uid):
    raise KeyError(uid)

pwd.getpwuid = nobody
configure()
assert jax.config.jax_compilation_cache_dir is None
"""


def test_a_user_without_a_home_has_no_cache():
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR")
    }
    subprocess.run([sys.executable, "-c", HOMELESS], check=True, env=env)
