"""Evaluation protocols of the field: what is compared with what, as data.

Published figures differ by centimetres for reasons that have nothing to do with the models: which
body is the ground truth, which joints, centred on which root, which frames. A `Protocol` states all
of these; `PRESETS` are those of published code (where a paper disagrees with its code, we follow
the code).

Crops and windows of frames belong to the model and are as in training.
"""

from __future__ import annotations

import dataclasses
import typing

from maed_jax.body.skeleton import (
    H36M_TO_J14,
    H36M_TO_J17,
    J49_TO_H36M,
    J49_TO_MPII3D,
    KEYPOINT_NAMES,
)


@dataclasses.dataclass(frozen=True)
class Metric:
    title: str
    unit: str


METRICS = {
    "mpjpe": Metric("MPJPE", "mm"),
    "pa_mpjpe": Metric("PA-MPJPE", "mm"),
    "pve": Metric("PVE", "mm"),
    "accel": Metric("ACCEL", "as the protocol says"),
    "accel_frame": Metric("mm/frame^2", "mm/frame^2, within sequences"),
    "accel_second": Metric("m/s^2", "m/s^2, within sequences"),
    "pck": Metric("PCK", "%"),
    "auc": Metric("AUC", "%"),
    "pa_pck": Metric("PA-PCK", "%"),
    "pa_auc": Metric("PA-AUC", "%"),
}
"""All metrics, in the table's order. The two after ACCEL are its corrected forms."""


@dataclasses.dataclass(frozen=True)
class JointSet:
    """Joints to compare, by index: `of_body` among the points of a posed body (`source`), and
    `of_keypoints` among the 49 labelled keypoints.

    The first six are the legs from the right ankle to the left, so 2 and 3 are the hips.
    """

    text: str
    source: typing.Literal["h36m", "keypoints"]
    """points of a posed body: the 17 joints of Human3.6M's regressor, or the 49 keypoints"""
    of_body: tuple[int, ...]
    of_keypoints: tuple[int, ...]
    pck: tuple[int, ...]
    """indices into this set of the 14 joints of PCK and AUC: limbs, neck, top of the head"""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(KEYPOINT_NAMES[i] for i in self.of_keypoints)

    def root(self, kind: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Returns the joints whose mean is the root: indices into source points and keypoints."""
        if kind == "mid-hip":
            return self.of_body[2:4], self.of_keypoints[2:4]
        pelvis = KEYPOINT_NAMES.index("hip")
        return (0 if self.source == "h36m" else pelvis,), (pelvis,)


_FIRST_14 = tuple(range(14))
_LIMBS_NECK = tuple(range(25, 38))

JOINT_SETS = {
    "h36m14": JointSet(
        "14 joints from Human3.6M's regressor",
        "h36m", tuple(H36M_TO_J14), (*_LIMBS_NECK, 43), _FIRST_14,
    ),
    "h36m17": JointSet(
        "17 joints from Human3.6M's regressor",
        "h36m", tuple(H36M_TO_J17), tuple(J49_TO_H36M), (*range(13), 16),
    ),
    "mpii3d17": JointSet(
        "17 of the 49 keypoints",
        "keypoints", tuple(J49_TO_MPII3D), tuple(J49_TO_MPII3D), _FIRST_14,
    ),
    # SPIN compares the regressor's head with the labelled top of the head, its jaw with the head.
    "mpii3d17-h36m": JointSet(
        "17 joints from Human3.6M's regressor, matched to MPI-INF-3DHP's labels",
        "h36m", (*H36M_TO_J14, 0, 7, 9), tuple(J49_TO_MPII3D), _FIRST_14,
    ),
}  # fmt: skip

# The meaning of each choice, as worded in the sentence below the table.
CHOICES: dict[str, dict[str, str]] = {
    "truth": {
        "neutral": "truth: the neutral body in the labelled pose and shape",
        "gendered": "truth: the body of the labelled gender in the labelled pose and shape",
        "keypoints": "truth: labelled 3D keypoints",
    },
    "joints": {name: joints.text for name, joints in JOINT_SETS.items()},
    "root": {"mid-hip": "centred on the mid-hip point", "pelvis": "centred on the pelvis joint"},
    "pve": {
        "none": "PVE of vertices as placed by the body model",
        "root": "PVE of vertices centred on the same root",
    },
    "accel": {
        "sequence": "ACCEL within sequences",
        "concatenated": "ACCEL over all sequences concatenated",
    },
    "accel_unit": {"frame": "mm per frame^2", "second": "m/s^2"},
    "frames": {
        "all": "",
        "visible": "frames with more than 6 of 12 limb joints visible in 2D",
        "valid": "frames that the dataset marks as valid",
        "valid-visible": "valid frames with more than 6 of 12 limb joints visible in 2D",
        "inside": "frames with all labelled joints in the image",
        "valid-inside": "valid frames with all labelled joints in the image",
    },
    "gaps": {"close": "", "cut": "a sequence ends where frames are left out"},
}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """One way to evaluate; `CHOICES` lists the values of its fields and their meaning."""

    name: str
    source: str
    """whose protocol it is"""
    truth: str = "neutral"
    joints: str = "h36m14"
    root: str = "mid-hip"
    pve: str = "none"
    accel: str = "sequence"
    accel_unit: str = "frame"
    accel_trim: int = 0
    """acceleration errors dropped at both ends of each sequence"""
    frames: str = "all"
    """which frames count; the model does not see the others either"""
    gaps: str = "close"
    frame_rate: float = 0.0
    """frames per second to evaluate; 0: all"""
    tracks: str = ""
    """only tracks whose name contains this"""
    flip: bool = False
    """average with the prediction for the mirrored image"""
    metrics: tuple[str, ...] = ("mpjpe", "pa_mpjpe", "pve", "accel")
    changed: tuple[str, ...] = ()
    """"field=value" for each difference from the preset"""

    @property
    def label(self) -> str:
        """The name, followed by what was changed."""
        return ", ".join((self.name, *self.changed))

    @property
    def joint_set(self) -> JointSet:
        return JOINT_SETS[self.joints]

    @property
    def pass_key(self) -> tuple:
        """What determines the images that the model sees; protocols that agree share a pass."""
        return self.frames, self.gaps, self.frame_rate, self.tracks, self.flip

    def describe(self) -> str:
        """Returns a sentence with every choice that affects the results."""
        choices = [CHOICES[name][getattr(self, name)] for name in ("truth", "joints", "root")]
        choices += [CHOICES["pve"][self.pve]] if "pve" in self.metrics else []
        if "accel" in self.metrics:
            trim = ", ends dropped" * bool(self.accel_trim)
            unit = CHOICES["accel_unit"][self.accel_unit]
            choices.append(f"{CHOICES['accel'][self.accel]}{trim}, {unit}")
        choices += [CHOICES["frames"][self.frames], CHOICES["gaps"][self.gaps]]
        choices.append(f"{self.frame_rate:g} frames per second" if self.frame_rate else "")
        choices.append(f"only tracks named *{self.tracks}*" if self.tracks else "")
        choices.append("averaged with the mirrored image" if self.flip else "")
        return f"{self.label} ({self.source}): {'; '.join(part for part in choices if part)}"


_JOINTS_ONLY = ("mpjpe", "pa_mpjpe")
_PCK = ("mpjpe", "pa_mpjpe", "accel", "pck", "auc", "pa_pck", "pa_auc")

PRESETS: dict[str, tuple[Protocol, ...]] = {
    "3dpw": (
        Protocol("maed", "MAED and VIBE", accel="concatenated", frames="visible"),
        Protocol(
            "spin", "SPIN", truth="gendered", root="pelvis", frames="valid", metrics=_JOINTS_ONLY
        ),
        Protocol("tcmr", "TCMR", frames="valid-visible"),
        Protocol(
            "wham", "WHAM", truth="gendered", pve="root", accel_unit="second", accel_trim=1,
            frames="valid-visible", flip=True,
        ),
    ),
    "mpi_inf_3dhp": (
        Protocol(
            "maed", "MAED", truth="keypoints", joints="mpii3d17", accel="concatenated",
            frames="inside", gaps="cut", metrics=_PCK,
        ),
        Protocol(
            "spin", "SPIN", truth="keypoints", joints="mpii3d17-h36m", root="pelvis",
            frames="valid-inside", metrics=(*_JOINTS_ONLY, *_PCK[3:]),
        ),
        Protocol(
            "tcmr", "TCMR", truth="keypoints", joints="mpii3d17", root="pelvis",
            frames="valid-inside", gaps="cut", metrics=_PCK,
        ),
    ),
    "h36m": (
        Protocol(
            "maed", "MAED", truth="keypoints", joints="h36m17", accel="concatenated",
            metrics=(*_JOINTS_ONLY, "accel"),
        ),
        Protocol(
            "p1", "SPIN, protocol 1: all cameras", truth="keypoints", root="pelvis",
            frame_rate=10, metrics=_JOINTS_ONLY,
        ),
        Protocol(
            "p2", "SPIN, protocol 2: the frontal camera", truth="keypoints", root="pelvis",
            frame_rate=10, tracks="60457274", metrics=_JOINTS_ONLY,
        ),
    ),
    "other": (Protocol("maed", "MAED's on 3DPW, ACCEL within sequences"),),
}  # fmt: skip
"""By dataset; `other` is for all without a published protocol."""
