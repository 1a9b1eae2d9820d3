"""The mannequin as an SMPL file for smplx: the same joints from the same vertices."""

import sys

import numpy as np

from maed_jax.bench import peers
from maed_jax.body import smpl
from maed_jax.body.files import body_from_mapping
from maed_jax.body.mannequin import mannequin


def test_the_file_gives_the_body_back():
    body = mannequin()
    file = peers.smpl_file(body)
    shape = np.random.default_rng(0).normal(size=10).astype(np.float32)
    verts = body.template + body.shape_dirs @ shape
    expected = body.rest_joints + body.rest_joint_dirs @ shape
    np.testing.assert_allclose(file["J_regressor"] @ verts, expected, atol=1e-5)
    assert file["kintree_table"].shape == (2, 24) and file["posedirs"].shape[1:] == (3, 207)
    again = body_from_mapping(file, "here")
    np.testing.assert_allclose(again.rest_joint_dirs, body.rest_joint_dirs, atol=1e-5)


def test_without_smplx_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    cases, why = peers.smplx(mannequin(), np.zeros(0), np.zeros(0), np.zeros(0))
    assert cases == {} and "pip install smplx torch" in why
    assert smpl.NUM_JOINTS == 24
