import dataclasses

import numpy as np
import pytest
from moving_person import camera_joints, moving_person
from scipy.spatial.transform import Rotation

from maed_jax.body.mannequin import mannequin
from maed_jax.inference.smoothing import smooth_camera, smooth_person, smooth_rotations


def shaken(person, degrees=4.0, seed=0):
    """Adds noise of this many degrees to every joint, and noise to camera and shape."""
    rng = np.random.default_rng(seed)
    noise = Rotation.from_rotvec(np.radians(degrees) * rng.normal(size=(len(person) * 24, 3)))
    rotmat = (noise * Rotation.from_matrix(person.rotmat.reshape(-1, 3, 3))).as_matrix()
    return dataclasses.replace(
        person,
        rotmat=rotmat.reshape(-1, 24, 3, 3).astype(np.float32),
        camera=person.camera * rng.normal(1, 0.02, person.camera.shape).astype(np.float32),
        shape=person.shape + rng.normal(0, 0.5, person.shape.shape).astype(np.float32),
    )


def jitter(person):
    """Mean acceleration of the joints about the root, in metres per frame squared."""
    joints = person.joints_3d - person.joints_3d[:, :1]
    return np.linalg.norm(np.diff(joints, n=2, axis=0), axis=-1).mean()


def test_one_shape_and_points_to_match():
    person = shaken(moving_person(n=130), degrees=0)  # more than one chunk
    smooth = smooth_person(person, mannequin())
    assert (smooth.shape == smooth.shape[0]).all()
    np.testing.assert_allclose(smooth.shape[0], person.shape.mean(0), atol=1e-5)
    np.testing.assert_array_equal(smooth.raw_shape, person.shape)
    assert smooth.raw_rotmat is None and smooth.raw_camera is None
    np.testing.assert_array_equal(smooth.rotmat, person.rotmat)
    np.testing.assert_array_equal(smooth.pose, person.pose)
    assert (
        np.abs(smooth.keypoints_2d - smooth.crops[:, None, :2]) < smooth.crops[:, None, 2:]
    ).all()
    there = smooth.joints_3d + smooth.translation[:, None]
    np.testing.assert_allclose(there, camera_joints(smooth), atol=1e-5)


def test_nothing_asked_nothing_changed():
    person = moving_person()
    smooth = smooth_person(person, mannequin(), one_shape=False)
    np.testing.assert_allclose(smooth.keypoints_3d, person.keypoints_3d, atol=1e-5)
    # seen by the crop's camera, which has almost no perspective
    assert np.median(np.abs(smooth.keypoints_2d - person.keypoints_2d)) < 3
    for name in ("rotmat", "shape", "camera", "translation"):
        np.testing.assert_array_equal(getattr(smooth, name), getattr(person, name))
    assert smooth.raw_shape is None


def test_less_jitter_and_no_more_error():
    truth = smooth_person(moving_person(n=90, fps=30), mannequin())
    noisy = shaken(truth)
    raw = smooth_person(noisy, mannequin())
    smooth = smooth_person(noisy, mannequin(), motion=True)

    def error(person):
        return np.linalg.norm(person.joints_3d - truth.joints_3d, axis=-1).mean()

    assert jitter(smooth) < 0.4 * jitter(raw)
    assert error(smooth) < 0.9 * error(raw)
    np.testing.assert_array_equal(smooth.raw_rotmat, noisy.rotmat)
    np.testing.assert_array_equal(smooth.raw_camera, noisy.camera)
    far = truth.translation[:, 2] * truth.camera[:, 0] / smooth.camera[:, 0]  # smaller: farther
    np.testing.assert_allclose(smooth.translation[:, 2], far, rtol=1e-4)
    assert (
        np.abs(np.diff(smooth.translation[:, 2], n=2)).mean()
        < 0.5
        * np.abs(
            np.diff(noisy.camera[:, 0], n=2) / noisy.camera[1:-1, 0] * truth.translation[1:-1, 2]
        ).mean()
    )
    vectors = smooth.pose.reshape(-1, 3)
    np.testing.assert_allclose(
        Rotation.from_rotvec(vectors).as_matrix(), smooth.rotmat.reshape(-1, 3, 3), atol=1e-5
    )


def test_steady_motion_stays_and_does_not_lag():
    time = np.arange(60) / 30
    angle = np.where(time < 1, 0, 3 * (time - 1))  # starts to turn at once
    turning = Rotation.from_rotvec(np.stack([0 * angle, angle, 0 * angle], -1))
    smooth = smooth_rotations(turning.as_matrix()[:, None], time)
    lag = np.degrees((turning.inv() * Rotation.from_matrix(smooth[:, 0])).as_rotvec()[:, 1])
    assert np.abs(lag[:20]).max() < 2 and np.abs(lag).max() < 12
    assert np.abs(lag[40:55].mean()) < 2  # neither behind nor ahead
    still = np.tile([[0.9, 0.1, -0.1]], (60, 1))
    np.testing.assert_allclose(smooth_camera(still, time), still, rtol=1e-6)


def smoothed_values(values):
    """Smooths the same 90 values, 30 per second: as angles by a faster joint, and as cameras."""
    time, axis = np.arange(90) / 30, np.array([0.6, 0, 0.8])
    joints = values[:, None, None] * np.stack([-3 * axis, axis])
    rotmat = Rotation.from_rotvec(joints.reshape(-1, 3)).as_matrix().reshape(90, 2, 3, 3)
    smooth = smooth_rotations(rotmat, time)
    away = Rotation.from_matrix(rotmat[:, 1]).inv() * Rotation.from_matrix(smooth[:, 1])
    camera = smooth_camera(np.stack([np.exp(values), values, -values], axis=-1), time)
    return values + away.as_rotvec() @ axis, np.log(camera[:, 0]), camera[:, 1], -camera[:, 2]


def test_small_jitter_is_low_pass_filtered():
    """It is of first order and leaves weight / (2 - weight) of a signal that alternates in sign."""
    signs = (-1.0) ** np.arange(90)
    for smooth, cutoff in zip(smoothed_values(0.002 * signs), (1.5, 0.5, 0.5, 0.5)):
        weight = 1 / (1 + 30 / (2 * np.pi * cutoff))
        left = (smooth * signs)[30:60].mean() / 0.002
        assert left == pytest.approx(weight / (2 - weight), rel=0.05)


@pytest.mark.parametrize("speed", [0.5, 5])
def test_the_low_pass_opens_with_speed(speed):
    """The lag, speed / (2 pi cutoff), cancels out in the middle and is halved at the ends."""
    motion = speed * (np.arange(90) / 30 - 1.5)
    cutoffs = (1.5 + 0.3 * speed, *[0.5 + speed] * 3)
    for smooth, cutoff in zip(smoothed_values(motion), cutoffs):
        lag = smooth - motion
        assert np.abs(lag[40:50]).max() < 0.01 * speed
        ends = speed / (2 * np.pi * cutoff) / 2
        assert lag[[0, -1]] == pytest.approx([ends, -ends], rel=0.01)


def test_the_filter_is_symmetric_and_keeps_what_is_still():
    rng = np.random.default_rng(0)
    time = np.cumsum(rng.uniform(0.01, 0.1, 20))  # irregular frames
    moving, still = Rotation.random(20, rng), Rotation.random(24, rng).as_matrix()
    rotmat = np.concatenate([moving.as_matrix()[:, None], np.tile(still, (20, 1, 1, 1))], axis=1)
    camera = rng.uniform(0.5, 1.5, (20, 3))
    for smoothed, values in ((smooth_rotations, rotmat), (smooth_camera, camera)):
        forth = smoothed(values, time)
        back = smoothed(values[::-1], time[-1] - time[::-1])[::-1]
        np.testing.assert_allclose(forth, back, atol=1e-6)
    smooth, turn = smooth_rotations(rotmat, time), Rotation.random(rng=rng).as_matrix()
    np.testing.assert_allclose(smooth[:, 1:], rotmat[:, 1:], atol=1e-6)
    np.testing.assert_allclose(smooth_rotations(turn @ rotmat, time), turn @ smooth, atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, -1.0])
def test_cameras_of_untrained_models_and_single_frames(scale):
    camera = np.array([[0.9, 0, 0], [scale, 0.2, 0.1]])
    assert np.isfinite(smooth_camera(camera, np.array([0.0, 0.0]))).all()
    np.testing.assert_allclose(smooth_camera(camera[1:], np.zeros(1)), camera[1:])
    assert smooth_rotations(np.eye(3)[None, None], np.zeros(1)).shape == (1, 1, 3, 3)


def test_gaps_are_not_smoothed_over():
    person = moving_person(n=20)
    apart = dataclasses.replace(person, frames=np.r_[0:10, 100:110])
    first = smooth_person(apart, mannequin(), motion=True).rotmat[:10]
    np.testing.assert_allclose(first, smooth_rotations(person.rotmat[:10], person.times[:10]))
