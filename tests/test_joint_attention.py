import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_params import random_params

from maed_jax.models.decoders import joints_read
from maed_jax.models.joint_attention import joint_fractions
from maed_jax.models.ktd import KinematicTopologyDecoder
from maed_jax.models.regression import REST_POSE


def decoder_of(name):
    reads = joints_read(name, seed=3)
    decoder = KinematicTopologyDecoder(8, 0.0, reads)
    feature = jax.random.normal(jax.random.key(0), (2, 5))
    variables = random_params(decoder.init, feature, train=False)
    pose6d = jax.jit(lambda v: decoder.apply(v, feature, train=False).pose6d)(variables)
    return reads, variables["params"], feature, pose6d


@pytest.mark.parametrize("name", ["ktd_random", "ktd_reverse"])
def test_fractions_are_those_of_the_decoders_own_sum(name):
    """The image's fraction, computed from the feature, is what the ancestors' lack to one."""
    reads, params, feature, pose6d = decoder_of(name)
    fractions = np.asarray(joint_fractions(params, pose6d, reads))
    x = feature
    for layer in ("fc1", "fc2"):
        x = x @ params[layer]["kernel"] + params[layer]["bias"]
    rest = jnp.array(REST_POSE)
    for joint, sources in enumerate(reads):
        others = sorted(set(range(24)) - set(sources))
        assert (fractions[:, joint, others] == 0).all() and (fractions[:, joint, sources] > 0).all()
        kernel = params[f"joint{joint}"]["kernel"]
        at_rest = jnp.concatenate([rest[s] for s in sources]) if sources else jnp.zeros(0)
        image = (
            x @ kernel[:8] + at_rest @ kernel[8:] + params[f"joint{joint}"]["bias"] - rest[joint]
        )
        parts = [
            (pose6d[:, s] - rest[s]) @ kernel[8 + 6 * i : 14 + 6 * i] for i, s in enumerate(sources)
        ]
        np.testing.assert_allclose(image + sum(parts), pose6d[:, joint] - rest[joint], atol=1e-4)
        lengths = [np.linalg.norm(part, axis=-1) for part in (image, *parts)]
        np.testing.assert_allclose(
            1 - fractions[:, joint].sum(-1), lengths[0] / sum(lengths), atol=1e-4
        )


def test_extremes():
    reads, params, feature, pose6d = decoder_of("ktd")
    for joint in range(24):
        params[f"joint{joint}"]["kernel"][8:] = 0
    assert (joint_fractions(params, pose6d, reads) == 0).all()
    rest = jnp.array(REST_POSE)
    fractions = joint_fractions(params, jnp.stack([rest, rest]), reads)
    assert jnp.isfinite(fractions).all() and (fractions == 0).all()

    knee, hip = 4, 1  # the knee copies the hip's deviation from rest and nothing else
    params["joint4"]["kernel"][8 + 6 : 8 + 12] = np.eye(6)
    assert reads[knee] == (0, hip)
    pose6d = pose6d.at[:, knee].set(rest[knee] + pose6d[:, hip] - rest[hip])
    fractions = joint_fractions(params, pose6d, reads)
    np.testing.assert_allclose(fractions[:, knee, hip], 1.0, atol=1e-5)
    assert fractions[:, :, 0].max() == 0
