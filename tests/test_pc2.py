import dataclasses
import struct

import numpy as np
from moving_person import moving_person

from maed_jax.body.mannequin import mannequin
from maed_jax.exports.obj import posed_verts
from maed_jax.exports.pc2 import write_pc2


def test_one_sample_a_frame_from_the_first_to_the_last(tmp_path):
    person = moving_person(n=4, first=5)
    person = dataclasses.replace(person, frames=np.array([5, 6, 9, 10]))
    write_pc2(tmp_path / "person_1.pc2", person, mannequin())
    data = (tmp_path / "person_1.pc2").read_bytes()
    name, version, points, start, rate, samples = struct.unpack_from("<12siiffi", data)
    assert (name, version, start, rate, samples) == (b"POINTCACHE2\0", 1, 5, 1, 6)
    assert points == len(mannequin().template)
    verts = np.frombuffer(data, "<f4", offset=32).reshape(samples, points, 3)
    truth = np.stack(list(posed_verts(person, mannequin())))
    x, y, z = np.moveaxis(truth[[0, 1, 1, 1, 2, 3]], -1, 0)
    np.testing.assert_allclose(verts, np.stack([x, z, -y], -1), atol=1e-6)
    assert np.ptp(verts[0, :, 2]) > 1.2  # z up: the person stands
