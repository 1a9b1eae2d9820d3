"""The network to measure, with initial values, and its parts as separate functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from ml_collections import ConfigDict

from maed_jax.body import smpl
from maed_jax.body.files import load_body
from maed_jax.compiler_options import hastily
from maed_jax.errors import UserError
from maed_jax.models.encoder import Block
from maed_jax.models.layers import dense
from maed_jax.models.maed import MAED, Prediction, make_decoder
from maed_jax.models.regression import VECTOR_SIZE, Regression
from maed_jax.models.resnet import ResNetRoot


class Network(NamedTuple):
    model: MAED
    variables: Any
    body: smpl.Body
    """restricted to the vertices that its keypoints need"""


Work = tuple[Callable, tuple]
"""a function and its arguments"""


def model_and_body(config: ConfigDict, **settings: Any) -> tuple[MAED, smpl.Body]:
    """Returns the network of `config.model` with `settings` changed, and the body of its keypoints.

    Raises:
      UserError: the encoder is not "ste", or the body cannot be loaded.
    """
    if config.model.encoder != "ste":
        raise UserError('only the encoder "ste" is measured: leave config.model.encoder unchanged')
    return MAED(**{**config.model, **settings}), smpl.keypoint_body(load_body(config.body))


def init(model: MAED, body: smpl.Body, key: jax.Array) -> Any:
    """Returns the variables at the start of training."""
    return model.init(key, jnp.zeros((1, 1, model.image_size, model.image_size, 3)), body)


def make(config: ConfigDict, **settings: Any) -> Network:
    """Makes the network of `model_and_body` with variables as at the start of training."""
    model, body = model_and_body(config, **settings)
    draw = jax.jit(functools.partial(init, model, body), compiler_options=hastily())
    return Network(model, draw(jax.random.key(0)), body)


def clips(model: MAED, b: int, t: int) -> jax.Array:
    """Returns normalised clips of noise `[b t h w 3]`."""
    shape = (b, t, model.image_size, model.image_size, 3)
    return jax.random.normal(jax.random.key(1), shape)


def forward(network: Network, b: int, t: int, **settings: Any) -> Work:
    """Returns the whole network on clips, without vertices, as in prediction and evaluation."""
    model = network.model.clone(**settings)

    def run(variables, body, clip):
        return model.apply(variables, clip, body)

    return run, (network.variables, network.body, clips(model, b, t))


def parts(network: Network, b: int, t: int) -> dict[str, Work]:
    """Returns the parts of a forward pass, each on inputs of the shape it has there."""
    model, params = network.model, network.variables["params"]
    encoder, dtype = params["encoder"], jnp.dtype(model.dtype)
    root = ResNetRoot(tuple(model.stage_sizes), model.width)
    embedding, decoder = dense(model.dim, "embedding", dtype), make_decoder(model)

    def features(params, images):
        return root.apply({"params": params}, images)

    def embed(params, x):
        return embedding.apply({"params": params}, x)

    def decode(params, feature):
        return decoder.apply({"params": params}, feature, network.body, train=False)

    def pose(body, regression, feature):
        return Prediction.from_regression(regression, feature, body, vertices=False)

    images = rearrange(clips(model, b, t), "b t h w c -> (b t) h w c").astype(dtype)
    feature_map = jax.eval_shape(features, encoder["root"], images)
    tokens = feature_map.shape[1] * feature_map.shape[2] + 1

    def noise(*shape, dtype=dtype):
        return jax.random.normal(jax.random.key(2), shape, dtype)

    def blocks(encoder, x):
        for i in range(model.depth):
            queries = 1 if i == model.depth - 1 else None
            block = Block(model.heads, model.mode)
            x = block.apply({"params": encoder[f"block{i}"]}, x, queries)
        return x

    feature = noise(b, t, model.feature_dim, dtype=jnp.float32)
    decoded = Regression.from_vector(noise(b, t, VECTOR_SIZE, dtype=jnp.float32))
    return {
        "root": (features, (encoder["root"], images)),
        "embedding": (embed, (encoder["embedding"], noise(*feature_map.shape))),
        "blocks": (blocks, (encoder, noise(b, t, tokens, model.dim))),
        "decoder": (decode, (params["decoder"], feature)),
        "body": (pose, (network.body, decoded, feature)),
    }


def with_gradient(work: Work, *argnums: int) -> Work:
    """Returns a function's output and gradients with respect to arguments `argnums`, for a random
    cotangent."""
    function, arguments = work
    output = jax.eval_shape(function, *arguments)
    cotangent = jax.random.normal(jax.random.key(3), output.shape, output.dtype)

    def run(cotangent, *arguments):
        def of_selected(*selected):
            values = dict(enumerate(arguments)) | dict(zip(argnums, selected))
            return function(*values.values())

        output, vjp = jax.vjp(of_selected, *(arguments[i] for i in argnums))
        return output, vjp(cotangent)

    return run, (cotangent, *arguments)


def block(network: Network, mode: str, t: int) -> Work:
    """Returns one block of the encoder on a clip of `t` frames, for all tokens."""
    from maed_jax.bench.original import tokens

    model = network.model
    block = Block(model.heads, mode)
    x = jax.ShapeDtypeStruct((1, t, tokens(model), model.dim), jnp.dtype(model.dtype))
    params = jax.eval_shape(block.init, jax.random.key(0), x)
    x, params = jax.tree.map(
        lambda a: jax.random.normal(jax.random.key(3), a.shape, a.dtype) * 0.02, (x, params)
    )
    return block.apply, (params, x)
