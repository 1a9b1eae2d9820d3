import dataclasses

import numpy as np
import pytest
from animation_readers import read_bvh
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from moving_person import camera_joints, moving_person
from scipy.spatial.transform import Rotation

from maed_jax.body.mannequin import mannequin
from maed_jax.body.skeleton import JOINT_NAMES
from maed_jax.exports.bvh import euler_angles, write_bvh


@pytest.mark.parametrize("n", [1, 20])
def test_joints_are_where_the_body_has_them(tmp_path, n):
    person = moving_person(n=n, first=7)
    write_bvh(tmp_path / "a.bvh", person, mannequin())
    names, places, frame_time = read_bvh(tmp_path / "a.bvh")
    assert sorted(names) == sorted(JOINT_NAMES)
    order = [names.index(name) for name in JOINT_NAMES]
    truth = camera_joints(person) * [1, -1, -1]
    assert np.abs(places[:, order] - truth).max() < 5e-5  # metres
    assert frame_time == pytest.approx(1 / 25 if n > 1 else 1 / 30)


def test_rows_are_a_frame_apart_in_a_track_with_a_gap_too(tmp_path):
    person = moving_person(n=20)
    gap = 9 * 25 * (np.arange(20) >= 10)  # frames: 9 seconds
    person = dataclasses.replace(person, frames=person.frames + gap, times=person.times + gap / 25)
    write_bvh(tmp_path / "a.bvh", person, mannequin())
    assert read_bvh(tmp_path / "a.bvh")[2] == pytest.approx(1 / 25)


@pytest.mark.filterwarnings("error")
@examples(50)
@given(st.lists(st.floats(-3.2, 3.2), min_size=3, max_size=3), st.sampled_from([None, 90, -90]))
def test_angles_say_the_rotation(vector, pitch):
    rotation = Rotation.from_rotvec(vector)
    if pitch is not None:  # where Euler angles are not unique
        rotation = Rotation.from_euler("ZXY", [vector[0], np.radians(pitch), vector[1]])
    angles = euler_angles(rotation.as_quat()[None, None])[0, 0]
    again = Rotation.from_euler("ZXY", angles, degrees=True)
    assert (again * rotation.inv()).magnitude() < 1e-5


def test_angles_do_not_jump():
    time = np.linspace(0, 3, 200)
    turning = Rotation.from_euler(
        "ZXY", np.stack([0.3 * np.sin(time), 2 * np.sin(2 * time), 6 * time + 3.13], -1)
    )
    angles = euler_angles(turning.as_quat()[:, None])[:, 0]  # half a turn after frame 0
    assert np.abs(np.diff(angles, axis=0)).max() < 10  # degrees; the turn alone is 5 a frame
