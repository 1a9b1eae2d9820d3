"""The mirror image of each of the mannequin's vertices, found by where they are."""

import functools

import numpy as np
from scipy.spatial import cKDTree

from maed_jax.body.mannequin import mannequin


@functools.cache
def mirror_vertices() -> np.ndarray:
    """For each vertex of the mannequin the index of its mirror partner. [verts]"""
    verts = np.asarray(mannequin().template)
    return cKDTree(verts).query(verts * [-1, 1, 1])[1]
