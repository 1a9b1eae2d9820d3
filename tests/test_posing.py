"""Bodies posed in chunks equal those posed at once, and chunks are no larger than needed."""

import numpy as np
import pytest

from maed_jax.body import mannequin, smpl
from maed_jax.evaluation import posing


@pytest.fixture(scope="module")
def body():
    return mannequin.mannequin()


def some_poses(body, frames, seed):
    rng = np.random.default_rng(seed)
    rotmat = posing.rotations(rng.normal(0, 0.3, (frames, 72)).astype(np.float32))
    return posing.Poses(body, rotmat, rng.normal(size=(frames, 10)).astype(np.float32))


@pytest.mark.parametrize("frames", [1, posing.SHORT, posing.SHORT + 1, posing.CHUNK + 1])
def test_compare_is_the_distance_of_bodies_posed_at_once(body, frames):
    pred, true = (some_poses(body, frames, seed) for seed in (0, 1))
    points, true_points, vertex_errors = posing.compare(pred, true, "h36m", None, posing.CHUNK, 1)
    posed = [smpl.pose_body(body, poses.rotmat, poses.shape) for poses in (pred, true)]
    for found, one in zip((points, true_points), posed):
        np.testing.assert_allclose(found, smpl.h36m_joints(body, one), atol=1e-6)
    distance = np.linalg.norm(np.subtract(posed[0].verts, posed[1].verts), axis=-1).mean(-1)
    np.testing.assert_allclose(vertex_errors, 1000 * distance, rtol=1e-5)


@pytest.mark.parametrize(
    ("source", "points"), [("h36m", smpl.h36m_joints), ("keypoints", smpl.keypoints)]
)
def test_the_points_are_those_of_the_whole_body_from_few_of_its_vertices(body, source, points):
    few = posing.points_body(body, source)
    assert few.template.shape[0] < body.template.shape[0] / 4
    poses = some_poses(few, 3, 4)
    whole = points(body, smpl.pose_body(body, poses.rotmat, poses.shape))
    np.testing.assert_allclose(
        posing.body_points(poses, source, 3, posing.CHUNK, 1), whole, atol=1e-6
    )


@pytest.mark.parametrize(("frames", "posed"), [(1, posing.SHORT), (posing.SHORT + 1, posing.CHUNK)])
def test_a_track_of_few_frames_is_not_posed_as_many(body, frames, posed, monkeypatch):
    seen = []

    def watch(body, rotmat, shape, source):
        seen.append(len(rotmat))
        return np.zeros((len(rotmat), 17, 3))

    monkeypatch.setattr(posing, "_points", watch)
    points = posing.body_points(some_poses(body, frames, 2), "h36m", frames, posing.CHUNK, 1)
    assert seen == [posed]
    assert points.shape == (frames, 17, 3)
