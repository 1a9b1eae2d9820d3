"""3D human shape and pose from video: MAED (Wan et al., ICCV 2021) in JAX."""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

# Loaded on first use, so that `maed --help` does not wait for JAX.
_EXPORTS = {
    "Estimator": "maed_jax.estimator",
    "MAED": "maed_jax.models.maed",
    "Prediction": "maed_jax.models.maed",
    "UserError": "maed_jax.errors",
    "from_torch": "maed_jax.weights.original",
    "load_body": "maed_jax.body.files",
    "predict_video": "maed_jax.inference.predict",
    "restore_estimator": "maed_jax.training.runs",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str):
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
