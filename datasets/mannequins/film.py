"""Films a mannequin: makes one track of records from a seed."""

from __future__ import annotations

import dataclasses
import functools

import cv2
import jax
import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d
from scipy.spatial.transform import Rotation

from maed_jax.body import mannequin as mannequin_body
from maed_jax.body import skeleton, smpl
from maed_jax.data import schema
from maed_jax.visual.render import Lights, Renderer, composite

from . import motion as motions
from . import scene, surroundings
from .pose import plant

FEET = [
    skeleton.KEYPOINT_NAMES.index(f"OP {s}{p}")
    for s in "LR"
    for p in ("BigToe", "SmallToe", "Heel")
]
MARGIN = 1.6  # side of the stored image over the longer side of the person's box
FEW = 3  # most images of a person for which only the background that they show is drawn
_CHUNK = 8  # frames posed at once, unless there is only one: JAX compiles for two sizes


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that determines a track; equal plans give equal records."""

    split: str
    number: int
    seed: int
    subset: str = ""
    """"", plain, clutter, occlusion or extreme"""
    kind: str = "walking"
    """a key of `motion.MOTIONS`, or "recorded" """
    frames: int = 128
    """of the motion, at `fps`"""
    every: int = 1
    """every n-th frame is filmed"""
    size: int = 160
    """side of the stored image, pixels"""
    clutter: tuple[float, float, float] = (0.2, 0.5, 0.3)
    """probabilities of a plain, a normal and a cluttered background; without a subset"""
    occluded: float = 0.4
    """probability that objects hide part of the person; without a subset"""
    kit: str = ""
    """a key of `scene.KITS`, or "" for individual clothes"""
    fps: float = 30.0
    recording: tuple[str, int] | None = None
    """for a recorded motion, its file and the frame (at `fps`) where the track starts"""

    @property
    def name(self) -> str:
        return f"{self.split}-{self.number:04d}-{self.kind}"

    def rng(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, *self.split.encode(), self.number])


@dataclasses.dataclass(frozen=True)
class Actor:
    """A body in motion on the floor of the world (y up, metres)."""

    rotations: np.ndarray
    """[frames 24 3 3] R_world_root, then R_parent_joint"""
    betas: np.ndarray
    """[10]"""
    t_world_root: np.ndarray
    """[frames 3]"""
    verts: np.ndarray
    """[frames verts 3] relative to the root joint, world axes"""
    keypoints: np.ndarray
    """[frames 49 3] relative to the root joint, world axes"""
    colors: np.ndarray
    """[verts 3] RGB in 0..255"""


@functools.cache
def _body(outline: bool) -> smpl.Body:
    """Returns the mannequin, or only enough vertices for its keypoints and its lowest point."""
    body = mannequin_body.mannequin()
    if outline:
        needed = np.abs(np.asarray(body.landmark_regressor)).sum(0) > 0
        needed[::6] = True
        body = smpl.restrict(body, np.flatnonzero(needed))
    return body


@jax.jit
def _posed(body: smpl.Body, rotations: jax.Array, betas: jax.Array):
    out = smpl.pose_body(body, rotations, betas)
    root = out.joints[:, :1]
    return out.verts - root, smpl.keypoints(body, out) - root


@functools.cache
def renderer(height: int, width: int) -> Renderer:
    return Renderer((height, width))


@functools.cache
def faces() -> np.ndarray:
    return np.asarray(mannequin_body.mannequin().faces)


def pose_bodies(
    rotations: np.ndarray, betas: np.ndarray, *, outline: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Returns vertices [frames verts 3] and keypoints [frames 49 3] relative to the root, metres.

    Args:
      rotations: [frames 24 3 3].
      betas: [10].
      outline: compute only some of the vertices, but the same keypoints; much faster.
    """
    frames = len(rotations)
    chunk = 1 if frames == 1 else _CHUNK
    padded = np.concatenate([rotations, np.repeat(rotations[-1:], -frames % chunk, axis=0)])
    parts = [
        _posed(_body(outline), padded[i : i + chunk].astype(np.float32), betas.astype(np.float32))
        for i in range(0, len(padded), chunk)
    ]
    verts, keypoints = (np.concatenate([np.asarray(p[i]) for p in parts])[:frames] for i in (0, 1))
    return verts, keypoints


def draw_actor(
    rng: np.random.Generator, motion: motions.Motion, every: int = 1, kit: str = ""
) -> Actor:
    """Gives a motion a body, clothes and a place on the floor; keeps every `every`-th frame."""
    betas = np.clip(rng.normal(0, 1, 10), -2.2, 2.2).astype(np.float32)
    outline, keypoints = pose_bodies(motion.rotations, betas, outline=True)
    lowest = outline[..., 1].min(axis=1)
    if motion.t_world_root is None:
        t_world_root = plant(keypoints[:, FEET], lowest, motion.hop, motion.support)
    else:
        t_world_root = motion.t_world_root.copy()
        t_world_root[:, 1] -= np.percentile(lowest + t_world_root[:, 1], 10)
    parts, names = mannequin_body.vertex_parts(), mannequin_body.PART_NAMES
    template = np.asarray(mannequin_body.mannequin().template)
    if kit:
        colors = scene.draw_kit(rng, parts, names, template, kit)
    else:
        colors = scene.draw_clothes(rng, parts, names, template)
    rotations = motion.rotations[::every].astype(np.float32)
    verts, keypoints = pose_bodies(rotations, betas)
    return Actor(rotations, betas, t_world_root[::every], verts, keypoints, colors)


def draw_motion(plan: Plan, rng: np.random.Generator) -> motions.Motion:
    if plan.recording is None:
        return motions.make(plan.kind, rng, plan.frames, plan.fps)
    from . import mocap

    path, start = plan.recording
    return mocap.cut(mocap.load_motion(path, plan.fps), start, plan.frames)


def _crops(verts_2d: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Computes, from projected vertices [frames verts 2], tight boxes [frames 4] (centre, size) and
    the square images to store [frames 3] (centre, side), which follow the person smoothly."""
    low, high = verts_2d.min(1), verts_2d.max(1)
    boxes = np.concatenate([(low + high) / 2, high - low], axis=1)
    center = gaussian_filter1d(boxes[:, :2], 0.13 * fps, axis=0, mode="nearest")
    longest = maximum_filter1d(boxes[:, 2:].max(1), max(3, round(fps / 2)), mode="nearest")
    side = MARGIN * gaussian_filter1d(longest, 0.17 * fps, mode="nearest")
    return boxes, np.concatenate([center, side[:, None]], axis=1)


def track(plan: Plan) -> list[dict]:
    """Returns the records of one track (see `maed_jax.data.schema`), in order."""
    rng = plan.rng()
    motion = draw_motion(plan, rng)
    actor = draw_actor(rng, motion, plan.every, plan.kit)
    fps = plan.fps / plan.every
    camera = scene.draw_camera(rng, actor.t_world_root, fps)
    verts = camera.to_camera(actor.verts + actor.t_world_root[:, None]).astype(np.float32)
    keypoints = camera.to_camera(actor.keypoints + actor.t_world_root[:, None])
    # On the plane z = 1; an image's focal length is its size over the side of its window there.
    boxes, crops = _crops(verts[..., :2] / verts[..., 2:], fps)
    focal = plan.size / crops[:, 2]
    middle = (plan.size - 1) / 2
    intrinsics = np.stack(
        [focal, focal, middle - focal * crops[:, 0], middle - focal * crops[:, 1]], axis=1
    ).astype(np.float32)
    keypoints_2d = keypoints[..., :2] / keypoints[..., 2:] * focal[:, None, None]
    keypoints_2d += intrinsics[:, None, 2:]
    boxes = np.concatenate(
        [boxes[:, :2] * focal[:, None] + intrinsics[:, 2:], boxes[:, 2:] * focal[:, None]], axis=1
    )
    R_cam_root = camera.R_cam_world @ actor.rotations[:, 0]
    rotations = np.concatenate([R_cam_root[:, None], actor.rotations[:, 1:]], axis=1)
    pose = Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_rotvec().reshape(-1, 72)

    images = _images(plan, rng, actor, camera, verts, crops, intrinsics)
    inside = ((keypoints_2d > -0.5) & (keypoints_2d < plan.size - 0.5)).all(-1, keepdims=True)
    ones = np.ones((len(verts), schema.NUM_KEYPOINTS, 1))
    return [
        {
            "image": image,
            "image_size": np.array([plan.size, plan.size], np.int32),
            "keypoints_2d": np.concatenate([keypoints_2d[t], inside[t]], -1).astype(np.float32),
            "keypoints_3d": np.concatenate([keypoints[t], ones[t]], -1).astype(np.float32),
            "pose": pose[t].astype(np.float32),
            "shape": actor.betas,
            "has_smpl": True,
            "has_3d": True,
            "box": boxes[t].astype(np.float32),
            "intrinsics": intrinsics[t],
            "frame": t * plan.every,
            "frame_rate": plan.fps,
            "valid": True,
            "body": "mannequin",
            "gender": "neutral",
            "source": f"mannequins/{plan.kind}",
            "track": plan.name,
        }
        for t, image in enumerate(images)
    ]


def _surroundings(plan: Plan, rng: np.random.Generator) -> tuple[str, int]:
    """Draws how cluttered the background is and how many objects hide the person."""
    if plan.subset:
        level = {"plain": "plain", "clutter": "clutter"}.get(plan.subset, "normal")
        return level, int(rng.integers(1, 4)) if plan.subset == "occlusion" else 0
    level = str(rng.choice(["plain", "normal", "clutter"], p=plan.clutter))
    return level, int(rng.integers(1, 4)) if rng.random() < plan.occluded else 0


def _images(plan, rng, actor, camera, verts, crops, intrinsics):
    """Yields the JPEG bytes of each frame."""
    level, num_occluders = _surroundings(plan, rng)
    seen = {}
    if len(verts) <= FEW:
        low, high = float(camera.pan.min()), float(camera.pan.max())
        width = min(1.0 + high - low, surroundings.WIDTH)
        seen = {"width": width, "middle": (low + high) / 2}
    panorama = surroundings.draw_panorama(rng, level, density=1.3 * plan.size, **seen)
    lights = scene.draw_lights(rng)
    darkness = rng.uniform(0.1, 0.5)
    occluders = [surroundings.draw_occluder(rng, crops) for _ in range(num_occluders)]
    sensor = scene.draw_sensor(rng)
    size = (plan.size, plan.size)
    render = renderer(*size).render
    for t in range(len(verts)):
        image = panorama.view(camera, t, intrinsics[t], size)
        spots = (actor.keypoints[t] + actor.t_world_root[t])[[*FEET, 39, 37]]
        surroundings.floor_shadow(image, camera, t, intrinsics[t], spots, darkness)
        directions = lights.directions @ camera.R_cam_world[t].T
        light = Lights(directions, lights.colors, lights.ambient)
        rgb, alpha = render(verts[t], faces(), actor.colors, intrinsics[t], light)
        image = composite(image, rgb, alpha)
        for occluder in occluders:
            occluder.cover(image, t)
        image = sensor(image, rng)
        quality = [cv2.IMWRITE_JPEG_QUALITY, sensor.quality]
        _, data = cv2.imencode(".jpg", image[..., ::-1], quality)
        yield data.tobytes()
