import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from random_params import random_params

from maed_jax.body.mannequin import mannequin
from maed_jax.cli import run
from maed_jax.data.images import normalise
from maed_jax.estimator import Estimator
from maed_jax.exports import model as export
from maed_jax.models.maed import MAED

SCRIPT = Path(__file__).parents[1] / "scripts" / "run_exported.py"


@pytest.fixture(scope="module")
def estimator():
    """A real one, as small as possible."""
    tiny = MAED(image_size=32, clip_length=2, stage_sizes=(1,), width=8, dim=16, depth=1,
                heads=2, feature_dim=16, decoder_width=16)  # fmt: skip
    clip = np.zeros((1, 2, 32, 32, 3), np.float32)
    variables = random_params(tiny.init, clip, None, method="regress")
    return Estimator(tiny, variables, mannequin())


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 2, 32, 32, 3), np.uint8)


def test_it_runs_without_this_package(estimator, images, tmp_path, monkeypatch, capsys):
    module = types.ModuleType("maed_jax.runs.restore")
    module.restore_estimator = lambda directory, step, *, body: {(7, "smpl"): estimator}[step, body]
    monkeypatch.setitem(sys.modules, "maed_jax.runs.restore", module)
    path = tmp_path / "new" / "maed.stablehlo"
    args = ["--checkpoint", "work", "--step", "7", "--body", "smpl", "--out", str(path)]
    run(export.main, [*args, "--vertices"])
    assert "uint8 [any 2 32 32 3] of frames 8 apart, in square crops 1.3" in capsys.readouterr().out
    np.save(tmp_path / "clips.npy", images)
    program = f"""
import sys
sys.modules["maed_jax"] = None  # an import would fail
sys.argv = ["", {str(path)!r}, {str(tmp_path / "clips.npy")!r}, {str(tmp_path / "a.npz")!r}]
exec(open({str(SCRIPT)!r}).read())
"""
    environment = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": os.environ["XLA_FLAGS"]}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    truth = estimator(normalise(images))
    with np.load(tmp_path / "a.npz") as outputs:
        assert set(outputs) == {
            "camera", "pose", "shape", "rotmat", "keypoints_3d", "keypoints_2d", "verts",
        }  # fmt: skip
        for name in outputs:
            np.testing.assert_allclose(outputs[name], getattr(truth, name), atol=1e-5)


def test_the_script_says_how_it_is_called_and_what_is_not_there():
    for args, says in (
        ([], "python scripts/run_exported.py maed.stablehlo clips.npy outputs.npz"),
        (["no.stablehlo", "clips.npy", "outputs.npz"], "No such file or directory: 'no.stablehlo'"),
    ):
        command = [sys.executable, str(SCRIPT), *args]
        ended = subprocess.run(command, capture_output=True, text=True)
        assert ended.returncode == 1 and says in ended.stderr and "Traceback" not in ended.stderr


def test_the_script_names_clips_that_it_cannot_use(estimator, tmp_path):
    export.write_model(tmp_path / "m", estimator)
    (tmp_path / "text.npy").write_text("text")
    np.save(tmp_path / "floats.npy", np.zeros((1, 2, 32, 32, 3), np.float32))
    for name, says in (("text", "is not a .npy file"), ("floats", "does not fit the model")):
        command = [sys.executable, str(SCRIPT), "m", f"{name}.npy", "outputs.npz"]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert ended.returncode == 1 and ended.stderr.startswith(f"{name}.npy {says}")
        assert ended.stderr.count("\n") == 1


def test_any_number_of_clips_on_any_platform(estimator):
    exported = export.exported(estimator)
    assert exported.platforms == ("cpu", "cuda", "tpu")
    (images,) = exported.in_avals
    assert str(images.shape[0]) == "b" and images.shape[1:] == (2, 32, 32, 3)
    assert len(exported.out_avals) == 6  # no vertices


def test_mistakes(estimator, tmp_path, capsys):
    with pytest.raises(SystemExit, match="is a directory"):
        run(export.main, ["--checkpoint", "w", "--out", str(tmp_path)])
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="cannot be written"):
        run(lambda _: export.write_model(tmp_path / "file" / "m", estimator), [])
    with pytest.raises(SystemExit, match="maed: "):
        run(export.main, ["--checkpoint", str(tmp_path / "no"), "--out", str(tmp_path / "m")])
