"""Renders a video for trying prediction: people cross a room that appears in no track."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tqdm
from scipy.spatial.transform import Rotation

from maed_jax.body.skeleton import KEYPOINT_NAMES
from maed_jax.data.pixels import project
from maed_jax.errors import UserError
from maed_jax.files.atomic import atomic_write
from maed_jax.inference.video import VideoWriter
from maed_jax.visual.render import Lights, Renderer, composite

from . import film, motion, scene, surroundings

FPS = 30.0
SIZE = (480, 640)  # height, width
FOCAL = 560.0  # pixels
DISTANCE = 4.6  # metres to the first person's line of walking


def write_video(path: str | Path, seed: int = 0, frames: int = 96, people: int = 2) -> Path:
    """Renders a video and writes its ground truth next to it.

    docs/data.md describes the video and the contents of the ground truth.

    Args:
      path: the mp4 file to write.
      frames: 2 to 3000.
      people: 1 to 6.

    Returns:
      The ground truth's file, `<name>.truth.npz`.

    Raises:
      UserError: a number is out of range, or a file cannot be written.
    """
    path = Path(path)
    if not 2 <= frames <= 3000 or not 1 <= people <= 6:
        raise UserError("a video has 2 to 3000 frames and 1 to 6 people")
    if not path.parent.is_dir():
        raise UserError(f"there is no folder {path.parent} to write {path.name} to")
    rng = np.random.default_rng([seed, *b"video"])
    height, width = SIZE
    intrinsics = np.array([FOCAL, FOCAL, (width - 1) / 2, (height - 1) / 2])
    place, target = np.array([[0, 1.25, DISTANCE]]), np.array([[0, 0.95, 0.0]])
    camera = scene.look(np.repeat(place, frames, 0), np.repeat(target, frames, 0))
    actors = [_walk_on(rng, number, frames) for number in range(people)]

    world = [actor.t_world_root[:, None] for actor in actors]
    verts = [camera.to_camera(a.verts + w).astype(np.float32) for a, w in zip(actors, world)]
    points = [camera.to_camera(a.keypoints + w) for a, w in zip(actors, world)]
    truth = [
        _truth(actor, camera, project(v, intrinsics), project(p, intrinsics), p)
        for actor, v, p in zip(actors, verts, points)
    ]
    panorama = surroundings.draw_panorama(rng, "plain", density=FOCAL, blur=1.5)
    lights = Lights(  # from above and behind the camera, to make people stand out
        np.array([[0.5, 1.0, 1.2], [-1.0, 0.4, 0.3]]) @ camera.R_cam_world[0].T,
        np.array([[0.6, 0.58, 0.55], [0.15, 0.15, 0.18]]),
        (0.45, 0.45, 0.47),
    )
    view = panorama.view(camera, 0, intrinsics, SIZE)
    background = (0.55 * view + 0.45 * np.array([205, 205, 200])).astype(np.uint8)
    with Renderer(SIZE) as renderer, VideoWriter(path, FPS) as writer:
        faces = [film.faces()] * people
        for t in tqdm.trange(frames, desc="rendering", unit=" frames"):
            image = background.copy()
            for actor, where in zip(actors, world):
                spots = (actor.keypoints[t] + where[t])[film.FEET]
                surroundings.floor_shadow(image, camera, t, intrinsics, spots, 0.4)
            rgb, alpha = renderer.render(
                [v[t] for v in verts], faces, [a.colors for a in actors], intrinsics, lights
            )
            image = composite(image, rgb, alpha)
            grain = rng.normal(0, 2.5, image.shape)
            writer.write(np.clip(image + grain, 0, 255).astype(np.uint8), t / FPS)
    out = path.with_name(path.stem + ".truth.npz")
    with atomic_write(out) as file:
        np.savez_compressed(
            file,
            **{name: np.stack([each[name] for each in truth]) for name in truth[0]},
            intrinsics=intrinsics,
            fps=FPS,
        )
    return out


def _walk_on(rng: np.random.Generator, number: int, frames: int) -> film.Actor:
    """Draws a person and places it in the room."""
    standing = number % 3 == 2
    direction = 1 if number % 2 == 0 else -1
    kind = "reaching" if standing else "walking"
    heading = rng.uniform(-40, 40) if standing else direction * 90 + rng.normal(0, 4)
    for _ in range(30):  # until the arms hang, because the detector relies on outlines
        moves = motion.make(kind, rng, frames, FPS, heading=heading)
        if standing or _highest_elbow(moves) < -0.12:
            break
    actor = film.draw_actor(rng, moves, kit="harlequin")  # as the people of the demo dataset
    # Darker than the background, for the same reason.
    actor.colors[:] = 0.55 * actor.colors
    places = actor.t_world_root
    depth = (0.0, -2.2, -1.4, -3.4, -0.8, -2.8)[number]
    if standing:
        places[:, [0, 2]] += [rng.uniform(-1.2, 1.2), depth]
        return actor
    # Always in the image, and in its middle at half time.
    places[:, 0] -= places[len(places) // 2, 0]
    reach = 0.40 * (DISTANCE - depth) * SIZE[1] / FOCAL
    places[:, 0] *= min(1.0, reach / np.abs(places[:, 0]).max())
    places[:, 2] += depth - places[:, 2].mean()
    return actor


def _highest_elbow(moves: motion.Motion) -> float:
    """Returns the largest height of an elbow above its shoulder, metres."""
    _, points = film.pose_bodies(moves.rotations[::12], np.zeros(10))
    elbows, shoulders = (
        points[:, [KEYPOINT_NAMES.index(f"{side}{name}") for side in "lr"], 1]
        for name in ("elbow", "shoulder")
    )
    return float((elbows - shoulders).max())


def _truth(actor, camera, verts_2d, keypoints_2d, keypoints_3d) -> dict[str, np.ndarray]:
    low, high = verts_2d.min(1), verts_2d.max(1)
    turned = actor.rotations.copy()
    turned[:, 0] = camera.R_cam_world @ turned[:, 0]
    pose = Rotation.from_matrix(turned.reshape(-1, 3, 3)).as_rotvec().reshape(-1, 72)
    arrays = {
        "box": np.concatenate([(low + high) / 2, high - low], axis=1),
        "keypoints_2d": keypoints_2d,
        "keypoints_3d": keypoints_3d,
        "pose": pose,
        "shape": actor.betas,
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}
