"""`maed bench scale` on a tiny network and few devices."""

import json
import os
import subprocess
from types import SimpleNamespace

import jax
import pytest
import small_bench

from maed_jax import cli
from maed_jax.bench import scale_program
from maed_jax.errors import UserError
from maed_jax.runs.config import load_config


def test_programs_and_predictions(tmp_path, monkeypatch, capsys):
    tiny = small_bench.tiny_model(monkeypatch)

    def here(devices, fsdp, clips, frames, config, overrides):
        sizes = {"devices": devices, "fsdp": fsdp, "clips": clips, "frames": frames}
        return scale_program.describe(load_config(config, overrides), **sizes)

    monkeypatch.setattr(scale_program, "compile_in_process", here)
    out, plot = tmp_path / "out.json", tmp_path / "out.png"
    arguments = ["--devices", "4", "--clips", "2", "--frames", "2", "--chips", "v5e"]
    written = ["--json", str(out), "--plot", str(plot)]
    cli.dispatch(["bench", "scale", *tiny, *arguments, *written])
    result = json.loads(out.read_text())
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == ["replicated, 4 devices", "fsdp, 4 devices"]
    whole, spread = rows.values()
    # Every gradient once, except those that are zero, and a few numbers for the losses. Nothing is
    # gathered, which would grow with the number of devices.
    assert set(whole["collectives"]) == {"all-reduce"}
    gradient = 4 * whole["parameters"]
    assert whole["collectives"]["all-reduce"]["payload"] == pytest.approx(gradient, rel=0.01)
    assert spread["collectives"]["all-gather"]["payload"] > 0.5 * gradient
    assert spread["memory"]["arguments"] < 0.7 * whole["memory"]["arguments"]
    assert spread["operations"] == whole["operations"] > 0
    names = [row["name"] for row in result["predictions"]]
    assert "v5e, fsdp, 2048 chips" in names and len(names) == 14
    for row in result["predictions"]:
        assert 0 < row["efficiency"][0] <= row["efficiency"][1] <= 1
    assert plot.stat().st_size > 5000 and "cloud.google.com" in capsys.readouterr().out


def test_each_program_has_a_process_of_its_own(monkeypatch, capsys):
    seen = []

    def describe(config, **sizes):
        return sizes | {"side": config.model.image_size}

    def run(command, env, **_):
        assert command[1:3] == ["-m", "maed_jax.bench.scale_program"]
        seen.append(env["XLA_FLAGS"])
        scale_program.main(command[3:])
        return SimpleNamespace(returncode=0, stdout=capsys.readouterr().out)

    monkeypatch.setattr(scale_program, "describe", describe)
    monkeypatch.setattr(subprocess, "run", run)
    overrides = ["--config.model.image_size=64"]
    found = scale_program.compile_in_process(256, 8, 2, 16, "debug", overrides)
    assert found == {"devices": 256, "fsdp": 8, "clips": 2, "frames": 16, "side": 64}
    assert "--xla_force_host_platform_device_count=256" in seen[0]
    assert os.environ["XLA_FLAGS"] in seen[0] and jax.device_count() == 8


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--chips", "abacus"], "no chip 'abacus'; choose from h200"),
        (["--clips", "0"], "--clips: needs a whole number above 0"),
        (["--core", "0"], "--core: needs a number above 0"),
        (["--devices", "1,0"], "--devices takes numbers such as 1,2,4, not '1,0'"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        cli.dispatch(["bench", "scale", *arguments])
