"""Joint positions of a pose."""

import numpy as np

from maed_jax.body.skeleton import PARENTS


def joint_positions(rotations, rest_joints):
    """Joints relative to the root, in world axes: [frames 24 3 3], [24 3] -> [frames 24 3]."""
    turned = [rotations[:, 0]]
    places = [np.zeros((len(rotations), 3))]
    for joint in range(1, rotations.shape[1]):
        parent = PARENTS[joint]
        places.append(places[parent] + turned[parent] @ (rest_joints[joint] - rest_joints[parent]))
        turned.append(turned[parent] @ rotations[:, joint])
    return np.stack(places, axis=1)
