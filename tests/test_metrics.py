import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from maed_jax.evaluation.metrics import (
    accel_error,
    auc,
    centre,
    distances,
    mean_of_valid,
    mpjpe,
    pa_mpjpe,
    pck,
    procrustes_align,
    pve,
)


@pytest.fixture(scope="module")
def golden(golden_dir):
    return np.load(golden_dir / "metrics.npz")


def points(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape) * 0.3


def test_alignment_is_that_of_the_original(golden):
    aligned = procrustes_align(golden["pred_joints"], golden["target_joints"])
    np.testing.assert_allclose(aligned, golden["aligned"], atol=1e-5)


def test_metrics_are_those_of_the_original(golden):
    pred, target = golden["pred_joints"], golden["target_joints"]
    about = [centre(points, (2, 3)) for points in (pred, target)]
    ours = {
        "mpjpe": mpjpe(pred, target),
        "pa-mpjpe": pa_mpjpe(pred, target),
        "accel": accel_error(about[0], np.zeros_like(pred)),
        "accel_err": accel_error(*about),
    }
    for name, frames in ours.items():
        assert frames.mean() == pytest.approx(golden[f"official/{name}"].item(), rel=1e-6), name
    shaking = accel_error(pred, np.zeros_like(pred))
    np.testing.assert_allclose(shaking, 1000 * golden["accel"], rtol=1e-5)
    errors = accel_error(pred, target)
    np.testing.assert_allclose(errors, 1000 * golden["accel_error"], rtol=1e-5)


@examples(50)
@given(st.integers(0, 10**6), st.integers(1, 5), st.floats(0.2, 5))
def test_similarities_are_undone_whatever_the_batch(seed, frames, scale):
    """Also with 1, 2 and 3 frames, which must not be mistaken for coordinates."""
    target = points(seed, frames, 14, 3)
    turn = Rotation.random(frames, random_state=seed).as_matrix()
    moved = scale * target @ turn.swapaxes(-1, -2) + points(seed + 1, frames, 1, 3)
    np.testing.assert_allclose(procrustes_align(moved, target), target, atol=1e-9)
    assert pa_mpjpe(moved, target).shape == (frames,)
    for frame in range(frames):
        alone = pa_mpjpe(points(seed, 14, 3), target[frame])
        together = pa_mpjpe(np.stack([points(seed, 14, 3)] * frames), target)[frame]
        assert alone == pytest.approx(together, abs=1e-9)


@examples(50)
@given(st.integers(0, 10**6), st.integers(3, 9))
def test_errors_are_of_poses_and_not_of_places(seed, frames):
    rng = np.random.default_rng(seed)
    pred, target = points(seed, frames, 14, 3), points(seed + 1, frames, 14, 3)
    turn = Rotation.random(random_state=seed).as_matrix()
    there = rng.normal(0, 3, (frames, 1, 3))

    def accel(pred, target):
        return accel_error(centre(pred, (2, 3)), centre(target, (2, 3)))

    for error in (mpjpe, pa_mpjpe, accel):
        found = error(pred, target)
        np.testing.assert_allclose(error(pred + there, target - 2 * there), found)
        np.testing.assert_allclose(error(pred @ turn, target @ turn), found)
        np.testing.assert_allclose(error(target, target), 0, atol=1e-9)
        np.testing.assert_allclose(error(pred[::-1], target[::-1])[::-1], found)
    np.testing.assert_allclose(mpjpe(pred, target), mpjpe(target, pred))
    np.testing.assert_allclose(accel_error(pred, target), accel_error(target, pred))
    # No similarity has a smaller squared error than the one found; the identity is one of them.
    squares = ((procrustes_align(pred, target) - target) ** 2).sum((-1, -2))
    assert (squares <= ((centre(pred, (2, 3)) - target) ** 2).sum((-1, -2)) + 1e-12).all()


@examples(50)
@given(st.integers(0, 10**6), st.integers(3, 9))
def test_steady_motion_has_no_acceleration(seed, frames):
    speed = np.random.default_rng(seed).normal(0, 1, (14, 3))  # a different one for each joint
    motion = points(seed, 1, 14, 3) + np.arange(frames)[:, None, None] * speed
    still, shaken = np.zeros_like(motion), points(seed, frames, 14, 3)
    np.testing.assert_allclose(accel_error(motion, still), 0, atol=1e-8)
    found = accel_error(shaken, motion)
    np.testing.assert_allclose(found, accel_error(shaken, still), atol=1e-8)


@examples(30)
@given(st.integers(0, 10**6))
def test_alignment_is_the_best_similarity(seed):
    rng = np.random.default_rng(seed)
    pred, target = points(seed, 9, 3), points(seed + 1, 9, 3)
    aligned = procrustes_align(pred, target)
    least = ((aligned - target) ** 2).sum()
    middle = aligned.mean(0)
    for _ in range(10):
        turn = Rotation.from_rotvec(rng.normal(size=3) * 0.02).as_matrix()
        other = (aligned - middle) @ turn.T * rng.uniform(0.97, 1.03) + middle
        other += rng.normal(size=3) * 0.01
        assert ((other - target) ** 2).sum() >= least - 1e-12


def test_mirror_images_are_not_undone():
    target = points(0, 2, 14, 3)
    assert (pa_mpjpe(target * [-1, 1, 1], target) > 50).all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_degenerate_points_give_numbers(count):
    target = points(1, 4, count, 3)
    for pred in (np.zeros_like(target), points(2, 4, count, 3), points(2, 1, 1, 3) + 0 * target):
        for a, b in ((pred, target), (target, pred)):
            assert np.isfinite(procrustes_align(a, b)).all()
    line = np.arange(5.0)[:, None] * [1, 2, 3]
    np.testing.assert_allclose(procrustes_align(line[::-1] * 2, line), line, atol=1e-9)


def test_a_broken_frame_disturbs_no_other():
    pred, target = points(0, 3, 14, 3), points(1, 3, 14, 3)
    whole = pa_mpjpe(pred, target)
    pred[1, 4, 2] = np.nan
    broken = pa_mpjpe(pred, target)
    assert np.isnan(broken[1])
    np.testing.assert_allclose(broken[[0, 2]], whole[[0, 2]])


def test_errors_are_millimetres_about_the_hips():
    target = points(0, 2, 5, 14, 3)
    assert distances(target + [0.003, 0, 0.004], target) == pytest.approx(5.0)
    assert mpjpe(target + [0.5, 0, 0], target) == pytest.approx(0.0)
    np.testing.assert_allclose(centre(target, (2, 3))[..., 2:4, :].mean(-2), 0, atol=1e-12)
    np.testing.assert_allclose(pve(target + [0, 0.1, 0], target), 100, rtol=1e-6)


def test_only_valid_joints_count():
    target = points(0, 3, 14, 3)
    pred = target.copy()
    pred[:, 7] += 9.0
    valid = np.ones((3, 14), bool)
    valid[:, 7] = False
    valid[2] = False
    error = mean_of_valid(distances(pred, target), valid)
    np.testing.assert_allclose(error[:2], 0, atol=1e-9)
    assert np.isnan(error[2])


def test_acceleration_is_of_one_sequence():
    """Two sequences at constant speed have no error; concatenated, they do."""
    frames = np.arange(10.0)[:, None, None]
    pose = points(0, 1, 14, 3)
    first, second = pose + frames * 0.01, pose[:, ::-1] - frames * 0.01
    still = np.zeros((10, 14, 3))
    for motion in (first, second):
        np.testing.assert_allclose(accel_error(motion, still), 0, atol=1e-9)
    both = accel_error(np.concatenate([first, second]), np.zeros((20, 14, 3)))
    assert (both > 1).sum() == 2
    assert accel_error(first[:2], still[:2]).shape == (0,)
    assert accel_error(first[:1], still[:1]).shape == (0,)


def test_acceleration_needs_three_valid_frames():
    valid = np.array([1, 1, 1, 0, 1, 1, 1, 1], bool)[:, None].repeat(14, axis=1)
    error = accel_error(points(0, 8, 14, 3), points(1, 8, 14, 3), valid)
    np.testing.assert_array_equal(np.isfinite(error), [1, 0, 0, 0, 1, 1])


def test_joints_that_do_not_count_bend_no_alignment():
    target = points(0, 3, 14, 3)
    turn = Rotation.random(3, random_state=0).as_matrix()
    pred = 1.3 * target @ turn + 0.2
    pred[:, 5] = 7.0
    pred[:, 6] = np.nan
    valid = np.ones((3, 14), bool)
    valid[:, 5:8] = False
    valid[2] = False
    assert (pa_mpjpe(pred, target)[:2] > 10).all() or np.isnan(pa_mpjpe(pred, target)).all()
    target[:, 7] = np.nan
    errors = distances(procrustes_align(pred, target, valid), target)
    np.testing.assert_allclose(mean_of_valid(errors, valid)[:2], 0, atol=1e-9)
    assert np.isnan(mean_of_valid(errors, valid)[2])
    np.testing.assert_allclose(
        procrustes_align(pred[:2, :5], target[:2, :5], valid[:2, :5]),
        procrustes_align(pred[:2], target[:2], valid[:2])[:, :5],
    )


def test_one_joint_decides_on_the_place_alone():
    pred, target = points(0, 4, 14, 3), points(1, 4, 14, 3)
    only = np.arange(14) == 6
    aligned = procrustes_align(pred, target, np.broadcast_to(only, (4, 14)))
    np.testing.assert_allclose(aligned, pred + (target - pred)[:, [6]], atol=1e-12)


def test_there_is_an_error_of_each_frame_whatever_the_leading_axes():
    pred, target = points(0, 2, 5, 14, 3), points(1, 2, 5, 14, 3)
    valid = np.random.default_rng(2).integers(0, 2, (2, 5, 14)) > 0
    errors = distances(pred, target)
    for found, each in (
        (mpjpe(pred, target), lambda *i: mpjpe(pred[i], target[i])),
        (mean_of_valid(errors, valid), lambda *i: mean_of_valid(errors[i], valid[i])),
        (pa_mpjpe(pred, target), lambda *i: pa_mpjpe(pred[i], target[i])),
        (pve(pred, target), lambda *i: pve(pred[i], target[i])),
        (pck(errors, valid), lambda *i: pck(errors[i], valid[i])),
        (auc(errors), lambda *i: auc(errors[i])),
    ):
        alone = [[each(i, j) for j in range(5)] for i in range(2)]
        np.testing.assert_allclose(found, alone, rtol=1e-6)


def test_correct_keypoints_are_nearer_than_150_mm():
    errors = np.array([[0.0, 149.9, 150.0, 1000.0], [0, 0, 0, np.nan]])
    np.testing.assert_allclose(pck(errors)[0], 50)
    assert np.isnan(pck(errors)[1])
    valid = np.array([[1, 1, 1, 1], [1, 1, 1, 0]], bool)
    np.testing.assert_allclose(pck(errors, valid), [50, 100])
    np.testing.assert_allclose(pck(errors, valid, threshold=1), [25, 100])


def test_area_under_the_curve_is_over_31_thresholds():
    assert auc(np.full((1, 14), 1e-9)) == pytest.approx(100 * 30 / 31)  # none is below 0 mm
    # An error of 72 mm is below 75, 80, ..., 150: 16 of 31.
    np.testing.assert_allclose(auc(np.full((2, 3), 72.0)), 100 * 16 / 31)
    assert auc(np.full((1, 2), 151.0)) == 0
    errors = np.random.default_rng(0).uniform(0, 200, (5, 14))
    by_hand = [[100 * (row < t).mean() for t in np.linspace(0, 150, 31)] for row in errors]
    np.testing.assert_allclose(auc(errors), np.mean(by_hand, axis=1))


def test_accelerations_of_single_joints_may_be_left_out():
    pred, target = points(0, 8, 14, 3), points(1, 8, 14, 3)
    valid = np.ones((8, 14), bool)
    valid[4, 3] = False
    whole, some = accel_error(pred, target), accel_error(pred, target, valid)
    np.testing.assert_array_equal(whole != some, [0, 0, 1, 1, 1, 0])
    others = [i for i in range(14) if i != 3]
    np.testing.assert_allclose(some[2:5], accel_error(pred[:, others], target[:, others])[2:5])
