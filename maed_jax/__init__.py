"""3D human shape and pose from video: MAED (Wan et al., ICCV 2021) in JAX.

restore_estimator   loads the model trained in a work directory as an `Estimator`
save_estimator      saves an `Estimator` as a work directory for `maed eval`, `predict`, `export`
from_torch          loads a checkpoint of the original code as an `Estimator`
predict_video       reconstructs the people in a video with an `Estimator`
crop_people         cuts clips for an `Estimator` out of frames, given people's boxes
Estimator           a model with its parameters and body: maps clips to a `Prediction`
Prediction          bodies, keypoints and cameras in every frame of clips
MAED                the network as a Flax module, for custom training loops
load_body           loads the mannequin or SMPL; `maed_jax.body.smpl.pose_body` poses it
UserError           raised for users' mistakes: one sentence that says what to do

docs/python.md shows each.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# `datasets` is inside this package when installed, but next to it in a checkout.
if (Path(__file__).parents[1] / "datasets" / "source.py").is_file():
    __path__.append(str(Path(__file__).parents[1]))

if TYPE_CHECKING:  # for editors and type checkers
    from maed_jax.body.files import load_body as load_body
    from maed_jax.errors import UserError as UserError
    from maed_jax.estimator import Estimator as Estimator
    from maed_jax.inference.reconstruct import crop_people as crop_people
    from maed_jax.models.maed import MAED as MAED
    from maed_jax.models.maed import Prediction as Prediction
    from maed_jax.prediction.predict import predict_video as predict_video
    from maed_jax.runs.restore import restore_estimator as restore_estimator
    from maed_jax.runs.restore import save_estimator as save_estimator
    from maed_jax.weights.original import from_torch as from_torch

# Imported on first use, so that `maed --help` does not wait for JAX.
_EXPORTS = {
    "Estimator": "maed_jax.estimator",
    "MAED": "maed_jax.models.maed",
    "Prediction": "maed_jax.models.maed",
    "UserError": "maed_jax.errors",
    "crop_people": "maed_jax.inference.reconstruct",
    "from_torch": "maed_jax.weights.original",
    "load_body": "maed_jax.body.files",
    "predict_video": "maed_jax.prediction.predict",
    "restore_estimator": "maed_jax.runs.restore",
    "save_estimator": "maed_jax.runs.restore",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str):
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
