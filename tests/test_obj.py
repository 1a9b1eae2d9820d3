import numpy as np
from moving_person import moving_person

from maed_jax.body.mannequin import mannequin
from maed_jax.body.smpl import pose_body
from maed_jax.exports.obj import write_obj_sequence


def test_every_frame_is_the_mesh(tmp_path):
    person = moving_person(n=34, first=5)  # more than one chunk
    write_obj_sequence(tmp_path / "person_1_obj", person, mannequin())
    files = sorted((tmp_path / "person_1_obj").iterdir())
    assert [path.name for path in files] == [f"{frame:06d}.obj" for frame in range(5, 39)]
    assert files[0].read_text().startswith("o person_1\ns 1\nv ")
    for row in (0, 33):
        lines = [line.split() for line in files[row].read_text().splitlines()]
        verts = np.array([words[1:] for words in lines if words[0] == "v"], float)
        faces = np.array([words[1:] for words in lines if words[0] == "f"], int)
        truth = pose_body(mannequin(), person.rotmat[row], person.shape[row]).verts
        truth = (np.asarray(truth) + person.translation[row]) * [1, -1, -1]
        np.testing.assert_allclose(verts, truth, atol=2e-5)
        np.testing.assert_array_equal(faces - 1, np.asarray(mannequin().faces))
    assert verts[:, 1].max() - verts[:, 1].min() > 1.2  # y up: the person stands
