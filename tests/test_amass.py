import dataclasses

import jax
import numpy as np
import pytest
from moving_person import camera_joints, moving_person
from scipy.spatial.transform import Rotation

from maed_jax.body.mannequin import mannequin
from maed_jax.body.smpl import pose_body
from maed_jax.exports.amass import write_amass

SMPL = dataclasses.replace(mannequin(), name="smpl")


def read(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def joints_of(motion):
    """Joints [n 24 3] as readers compute them: SMPL in the pose of each frame, plus `trans`."""
    n = len(motion["poses"])
    pose = np.concatenate([motion["poses"][:, :66], np.zeros((n, 6))], axis=1)
    rotmat = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(n, 24, 3, 3)
    betas = np.tile(motion["betas"][:10], (n, 1))
    joints = jax.jit(pose_body)(SMPL, rotmat.astype(np.float32), betas.astype(np.float32)).joints
    return np.asarray(joints) + motion["trans"][:, None]


@pytest.mark.parametrize("n", [1, 20])
def test_joints_are_where_the_person_has_them(tmp_path, n):
    person = moving_person(n=n, first=7)
    write_amass(tmp_path / "a.npz", person, SMPL)
    motion = read(tmp_path / "a.npz")
    x, y, z = np.moveaxis(camera_joints(person), -1, 0)
    np.testing.assert_allclose(joints_of(motion), np.stack([x, z, -y], axis=-1), atol=1e-5)


def test_layout_is_that_of_amass(tmp_path):
    person = moving_person(n=20)
    write_amass(tmp_path / "a.npz", person, SMPL)
    motion = read(tmp_path / "a.npz")
    assert motion["poses"].shape == (20, 156) and motion["trans"].shape == (20, 3)
    np.testing.assert_array_equal(motion["poses"][:, :3], motion["root_orient"])
    np.testing.assert_array_equal(motion["poses"][:, 3:66], motion["pose_body"])
    assert not motion["poses"][:, 66:].any()
    np.testing.assert_allclose(motion["betas"], [*person.shape[0], *[0] * 6], atol=1e-6)
    assert str(motion["gender"]) == "neutral"
    assert motion["mocap_framerate"] == motion["mocap_frame_rate"] == 25


def test_a_mannequin_has_no_shape_of_smpl(tmp_path):
    write_amass(tmp_path / "a.npz", moving_person(n=2), mannequin())
    assert not read(tmp_path / "a.npz")["betas"].any()
