"""Periodic validation of a run: errors on its validation split, gates, and images."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from maed_jax.body.smpl import Body, keypoint_body
from maed_jax.data.eval_clips import EvalBatch, evaluation_clips
from maed_jax.data.images import normalise
from maed_jax.data.pipeline import dataset_to_evaluate
from maed_jax.data.records import dataset_directory
from maed_jax.errors import UserError
from maed_jax.evaluation import scoring, table
from maed_jax.evaluation.predictions import predict
from maed_jax.models.encoder import attention_weights
from maed_jax.models.maed import Prediction
from maed_jax.training import sharding

DRAWN_CLIPS = 4  # number of clips whose middle frame is drawn


class Validation:
    """Runs a model on the validation split, with clips split over all devices of the mesh.

    Every process reads the whole split and computes its devices' part; all get all outputs.

    Raises:
      UserError: no such dataset or split, no pose labels or those of another body, or a body
        without the regressor of Human3.6M's joints.
    """

    def __init__(self, config: ConfigDict, model: Any, body: Body, mesh: Mesh):
        data = config.data
        num_clips = max(1, 128 // config.model.clip_length)
        self._clips = evaluation_clips(
            dataset_directory(data.data_dir, dataset_to_evaluate(data)),
            data.val_split,
            config.model.clip_length,
            config.model.image_size,
            stride=data.eval_interval,
            batch_size=-(-num_clips // mesh.size) * mesh.size,
            margin=data.augment.margin,
            limit=config.eval_windows,
        )
        alternative = "--config.body, or another dataset with --config.data.val_dataset"
        scoring.check_body(self._clips.labels, body.name, alternative)  # fail before training
        if not self._clips.any_pose_labels:
            limit = config.eval_windows
            chosen = f" in the windows chosen by config.eval_windows={limit}" if limit else ""
            raise UserError(
                f"split {data.val_split!r} has no pose labels to validate on{chosen}: choose "
                "another dataset with --config.data.val_dataset, or disable validation with "
                "--config.eval_every=0"
            )
        self._body, self._mesh = body, mesh
        replicated = sharding.replicated(mesh)
        points_body = keypoint_body(body, h36m=True)  # raises if the regressor is missing
        self._bodies = jax.tree.map(
            lambda x: sharding.from_host(x, replicated), {"points": points_body, "mesh": body}
        )

        def predict_keypoints(variables: Any, bodies: Any, clip: jax.Array) -> Prediction:
            variables = jax.lax.with_sharding_constraint(variables, replicated)
            return model.apply(variables, clip, bodies["points"])

        def inspect(variables: Any, bodies: Any, clip: jax.Array) -> tuple[Prediction, Any]:
            variables = jax.lax.with_sharding_constraint(variables, replicated)
            prediction, intermediates = model.apply(
                variables, clip, bodies["mesh"], vertices=True, mutable=["intermediates"]
            )
            blocks = enumerate(attention_weights(intermediates))
            gates = {f"block{i}": b["gates"].mean((1, 2)) for i, b in blocks if "gates" in b}
            return prediction, gates

        self._predict_keypoints = jax.jit(predict_keypoints, out_shardings=replicated)
        self._inspect = jax.jit(inspect, out_shardings=replicated)
        self._first: EvalBatch | None = None

    def errors(self, variables: Any) -> dict[str, float]:
        """Means over all frames: `mpjpe`, `pa_mpjpe` and `pve` in mm, `accel` in mm per frame^2."""

        def estimator(clip, *, vertices):
            return self._on_all_devices(self._predict_keypoints, variables, clip)

        predicted = predict(estimator, self._clips)
        row = table.rows("model", scoring.plain_scores(predicted, self._clips, self._body))[-1]
        return {name: row[name] for name in scoring.PLAIN.metrics}

    def inspect(self, variables: Any) -> tuple[dict[str, float], list[np.ndarray]]:
        """Inspects the model's output for the first clips of the split, always the same ones.

        Returns:
          The mean weight of time as opposed to space in each block, if it has gates; and for up to
          `DRAWN_CLIPS` clips, the middle frame next to the same frame with the body drawn over it,
          uint8 `[h w 3]`. No images if rendering is not possible or this is not the lead process.
        """
        if self._first is None:
            self._first = next(iter(self._clips))
        prediction, gates = self._on_all_devices(
            self._inspect, variables, normalise(np.asarray(self._first.image))
        )
        clips = self._first.track >= 0  # the others are padding
        gates = {
            f"gates/{block}": float(np.asarray(weights)[clips].mean())
            for block, weights in gates.items()
        }
        return gates, self._images(prediction) if jax.process_index() == 0 else []

    def _on_all_devices(self, function: Any, variables: Any, clip: Any) -> Any:
        clip = sharding.from_host(clip, sharding.batch_sharding(self._mesh))
        return jax.tree.map(
            lambda x: x.addressable_data(0), function(variables, self._bodies, clip)
        )

    def _images(self, prediction: Prediction) -> list[np.ndarray]:
        try:
            from maed_jax.visual.crops import draw_crops
        except ImportError:  # without the extra "viz"
            return []
        clips = np.flatnonzero(self._first.track >= 0)[:DRAWN_CLIPS]
        middle = self._first.image.shape[1] // 2
        crops, verts, camera = (
            np.asarray(a)[clips, middle]
            for a in (self._first.image, prediction.verts, prediction.camera)
        )
        try:
            drawn = draw_crops(crops, verts, camera, np.asarray(self._body.faces))
        except UserError:  # no PyVista, or it cannot render here
            return []
        return [np.concatenate(pair, axis=1) for pair in zip(crops, drawn)]
