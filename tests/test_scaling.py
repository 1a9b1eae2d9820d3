"""Real processes: two that form one run, and one that is killed. See scripts/prove_*.py."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_run
from fake_dataset import write_fake_dataset
from test_step import equal

from maed_jax.runs.checkpoints import read_variables
from maed_jax.runs.config import load_config
from maed_jax.training.train import train

TESTS = Path(__file__).parent


SETTINGS = {"steps": 12, "checkpoint_every": 3, "mesh.data": 2, "ema": 0.5, "log_every": 1}


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    write_fake_dataset(directory, [20, 40, 9])
    settings = SETTINGS | {"model.image_size": tiny_run.tiny.SIZE, "data.data_dir": directory}
    settings |= {f"data.{k}": "(('fake/crops',1.0),)" for k in ("clips", "images")}
    return [f"--config.{key}={value}" for key, value in settings.items()]


@pytest.fixture(scope="module")
def go_on(arguments):
    """`go_on(run)` trains in this process on two of its devices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("maed_jax.models.maed.MAED", tiny_run.model)
        yield lambda run: train(load_config("debug:stage2", arguments), run)


@pytest.fixture(scope="module")
def alone(go_on, tmp_path_factory):
    """An uninterrupted run."""
    run = tmp_path_factory.mktemp("alone")
    assert go_on(run) == 0
    return run


def start(run, devices, *arguments):
    flags = os.environ["XLA_FLAGS"]  # of conftest.py, for bit-identical numbers
    environment = os.environ | {
        "PYTHONPATH": f"{TESTS.parent}:{TESTS}",
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,  # not the user's
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={devices}",
    }
    command = [sys.executable, str(TESTS / "tiny_run.py"), "--config", "debug:stage2"]
    return subprocess.Popen(
        [*command, "--workdir", str(run), *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def losses(run):
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_are_one(arguments, alone, tmp_path):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    words = ["--distributed", f"--coordinator=127.0.0.1:{port}", "--num_processes=2"]
    run = tmp_path / "two"
    processes = [start(run, 1, *arguments, *words, f"--process_id={i}") for i in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    assert "process 1 of 2: 1 of 2 devices" in errors[1]
    assert "parameters" in errors[0] and "parameters" not in errors[1]  # only the lead reports

    np.testing.assert_allclose(losses(alone), losses(run), rtol=1e-5)
    (one, _), (two, step) = read_variables(alone), read_variables(run)
    assert step == 12
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two)):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_ctrl_c_while_it_starts_is_one_line(arguments, tmp_path):
    """During imports, where libraries turn it into other errors or swallow it."""
    command = [sys.executable, "-m", "maed_jax.cli", "train", "--config", "debug:stage2"]
    process = subprocess.Popen(
        [*command, "--workdir", str(tmp_path / "run"), *arguments],
        env=os.environ | {"PYTHONPATH": str(TESTS.parent)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while "tensorstore" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert "Traceback" not in said and not (tmp_path / "run").exists()
    # Interrupting the import of C++ libraries may crash them; everything else exits properly.
    if process.returncode not in (-signal.SIGSEGV, -signal.SIGABRT):
        assert (said, process.returncode) == ("maed: interrupted\n", 130)


def test_a_killed_run_ends_as_one_left_alone(arguments, go_on, alone, tmp_path):
    run = tmp_path / "killed"
    process = start(run, 2, *arguments)
    while not (run / "metrics.jsonl").exists() or len(losses(run)) < 4:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 4 <= len((run / "metrics.jsonl").read_text().splitlines()) < 12
    assert go_on(run) == 0
    assert losses(run) == losses(alone)
    assert equal(read_variables(run), read_variables(alone))
