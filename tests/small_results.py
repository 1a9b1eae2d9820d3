"""A small folder of results, like those of `maed predict`, for tests of the viewer."""

import dataclasses
import json

import numpy as np
from scipy.spatial.transform import Rotation
from small_videos import figure_images, write_video
from test_results import person as random_person

from maed_jax.inference.person_attention import Attention, save_attention
from maed_jax.inference.results import save_person, summary

SIZE = (160, 120)  # width, height
FRAMES = 8


def moving_person(id=1, frames=range(FRAMES), x=0.0):
    """Somebody upright who moves all joints a little, three metres in front of the camera."""
    frames = np.array(frames)
    n = len(frames)
    pose = np.random.default_rng(id).normal(scale=0.25, size=(n, 24, 3))
    upright = Rotation.from_rotvec([np.pi, 0, 0])
    pose[:, 0] = (upright * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    rotmat = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(n, 24, 3, 3)
    return dataclasses.replace(
        random_person(id, frames),
        boxes=np.tile(np.float32([80 + 20 * x, 60, 40, 90]), (n, 1)),
        crops=np.tile(np.float32([80 + 20 * x, 60, 117]), (n, 1)),
        pose=pose.reshape(n, 72).astype(np.float32),
        rotmat=rotmat.astype(np.float32),
        camera=np.tile(np.float32([0.9, 0, 0]), (n, 1)),
        translation=np.tile(np.float32([x, 0, 3]), (n, 1)),
        intrinsics=np.float32([200, 200, SIZE[0] / 2, SIZE[1] / 2]),
    )


def contents(people, video="walk.mp4", frames=FRAMES):
    """The content of results.json."""
    facts = dict(path=str(video), width=SIZE[0], height=SIZE[1], fps=10, frames=frames)
    return summary(
        people,
        video=facts | {"damaged_frames": []},
        model={"checkpoint": "work", "body": "mannequin", "maed_jax": "0"},
        boxes={"detector": "hog"},
        smoothed=False,
        one_shape=False,
        overlay=None,
        attention=[],
        exports=[],
    )


def attention_of(person, blocks=2, side=4, t=4):
    """Random attention whose weights sum to one."""
    rng = np.random.default_rng(person.id)
    n = len(person.frames)

    def weights(*shape):
        array = rng.random((n, *shape))
        return (array / array.sum(-1, keepdims=True)).astype(np.float16)

    clips = np.sort(rng.integers(0, FRAMES, (n, t)), axis=1)
    clips[:, 0] = person.frames
    return Attention(
        id=person.id,
        frames=person.frames,
        blocks=np.arange(blocks, dtype=np.int32),
        space=weights(blocks, side * side).reshape(n, blocks, side, side),
        time=weights(blocks, t),
        clip_frames=clips,
        gates=rng.random((n, blocks, 4)).astype(np.float16),
        joints=np.tril(weights(24, 24), -1),
    )


def write_results(folder, name="walk.mp4"):
    """Writes two people, the second in the later half, their video, and the first one's attention.

    Returns (out, people).
    """
    images = figure_images([[(60 + 3 * i, 60)] for i in range(FRAMES)], SIZE[::-1], 90)
    video = write_video(folder / name, images)
    people = [moving_person(1, x=-0.4), moving_person(2, range(4, FRAMES), x=0.5)]
    out = folder / "out"
    out.mkdir()
    for person in people:
        save_person(out / f"person_{person.id}.npz", person)
    save_attention(out / "attention_1.npz", attention_of(people[0]))
    (out / "results.json").write_text(json.dumps(contents(people, video)))
    return out, people
