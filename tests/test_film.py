"""A filmed track is consistent: images, keypoints, pose, shape, box and camera."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("pyvista")
from scipy.spatial.transform import Rotation

from maed_jax.body import skeleton
from maed_jax.data import schema
from maed_jax.data.images import decode_image
from maed_jax.data.pixels import project
from maed_jax.datasets.mannequins import film

PLANS = [
    film.Plan("train", 0, 0, kind="walking", frames=40, size=96),
    film.Plan("test", 3, 0, subset="extreme", kind="extreme", frames=40, size=96),
    film.Plan("test", 2, 1, subset="occlusion", kind="dancing", frames=40, size=96),
]


@pytest.fixture(scope="module", params=PLANS, ids=lambda plan: plan.kind)
def records(request):
    return film.track(request.param)


def test_records_follow_the_schema(records):
    assert [record["frame"] for record in records] == list(range(40))
    for record in records:
        assert set(record) == {*schema.ARRAYS, *schema.STRINGS, schema.IMAGE}
        for name, (shape, dtype) in schema.ARRAYS.items():
            value = np.asarray(record[name])
            assert value.shape == shape and np.can_cast(value.dtype, dtype, "same_kind"), name
            assert np.isfinite(value).all()
        assert decode_image(record["image"]).shape == (96, 96, 3)


def test_keypoints_project_to_keypoints(records):
    for record in records:
        flat = project(record["keypoints_3d"][:, :3], record["intrinsics"])
        np.testing.assert_allclose(flat, record["keypoints_2d"][:, :2], atol=2e-3)
        assert (record["keypoints_3d"][:, 2] > 1).all() and (
            record["keypoints_3d"][:, 3] == 1
        ).all()


def test_pose_and_shape_give_the_keypoints(records):
    for record in records[::13]:
        rotations = Rotation.from_rotvec(record["pose"].reshape(24, 3)).as_matrix()[None]
        _, points = film.pose_bodies(rotations, record["shape"])
        expected = record["keypoints_3d"][:, :3]
        middle = (skeleton.RIGHT_HIP, skeleton.LEFT_HIP)
        np.testing.assert_allclose(
            points[0] - points[0, middle].mean(0), expected - expected[middle, :].mean(0), atol=2e-4
        )


def test_boxes_are_tight_and_images_have_a_margin(records):
    for record in records:
        x, y, w, h = record["box"]
        points = record["keypoints_2d"][:, :2]
        inside = np.abs(points - (x, y)) <= np.array([w, h]) / 2 + 0.1
        assert inside.all() and w < 1.25 * np.ptp(points[:, 0]) + 6
        assert (record["keypoints_2d"][:, 2] == 1).all(), "the whole person is in the image"
        assert max(w, h) * 1.3 < 96 * 1.05, "a crop with the usual margin fits"
    centers = np.array([record["box"][:2] for record in records])
    assert np.abs(centers - 47.5).max() < 20


def test_tracks_are_smooth(records):
    points = np.array([record["keypoints_3d"][:, :3] for record in records])
    relative = points - points[:, 39:40]
    assert np.linalg.norm(np.diff(relative, 2, axis=0), axis=-1).max() < 0.12
    assert len({record["shape"].tobytes() for record in records}) == 1


def test_the_person_is_where_the_labels_say():
    """The image differs from that without the person inside the box, and only there."""
    plan = film.Plan("test", 0, 5, subset="plain", kind="reaching", frames=8, size=128)
    calls = []
    real = film.renderer(plan.size, plan.size)

    class Watching:
        def render(self, *arguments):
            calls.append(real.render(*arguments))
            return calls[-1]

    film.renderer, saved = lambda *_: Watching(), film.renderer
    try:
        records = film.track(plan)
    finally:
        film.renderer = saved
    for record, (_, alpha) in zip(records, calls):
        rows, columns = np.nonzero(alpha > 127)
        x, y, w, h = record["box"]
        low, high = (columns.min(), rows.min()), (columns.max(), rows.max())
        np.testing.assert_allclose(low, (x - w / 2, y - h / 2), atol=1.5)
        np.testing.assert_allclose(high, (x + w / 2, y + h / 2), atol=1.5)


def test_equal_plans_give_equal_records():
    plan = film.Plan("train", 7, 3, kind="sitting", frames=6, size=64)
    first, again = film.track(plan), film.track(plan)
    for a, b in zip(first, again):
        assert a["image"] == b["image"]
        np.testing.assert_array_equal(a["pose"], b["pose"])
    other = film.track(film.Plan("train", 8, 3, kind="sitting", frames=6, size=64))
    assert np.abs(other[0]["shape"] - first[0]["shape"]).max() > 0.1


def test_sparse_tracks_show_the_same_motion():
    plan = film.Plan("train", 1, 0, kind="running", frames=33, every=8, size=64)
    records = film.track(plan)
    assert [record["frame"] for record in records] == [0, 8, 16, 24, 32]
    dense = film.track(dataclasses.replace(plan, every=1))
    for record, other in zip(records, dense[::8]):
        np.testing.assert_allclose(record["pose"][3:], other["pose"][3:], atol=1e-5)
        np.testing.assert_array_equal(record["shape"], other["shape"])


def test_the_outline_has_the_keypoints_and_the_floor_of_the_whole_body():
    rng = np.random.default_rng(0)
    rotations = film.motions.make("extreme", rng, 40).rotations
    betas = rng.normal(0, 1, 10)
    verts, points = film.pose_bodies(rotations, betas)
    some, same = film.pose_bodies(rotations, betas, outline=True)
    np.testing.assert_allclose(same, points, atol=1e-5)
    assert some.shape[1] < verts.shape[1] / 3
    lowest = verts[..., 1].min(1)
    assert (some[..., 1].min(1) >= lowest - 1e-5).all()
    assert np.abs(some[..., 1].min(1) - lowest).max() < 0.012
