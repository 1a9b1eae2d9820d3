"""The decoders of the paper's Table 2 by name: features `[b t d]` to pose, shape and camera."""

from __future__ import annotations

from flax import linen as nn

from maed_jax.body import skeleton
from maed_jax.errors import UserError
from maed_jax.models.iterative import IterativeDecoder
from maed_jax.models.ktd import KinematicTopologyDecoder
from maed_jax.models.vanilla_decoder import VanillaDecoder

DECODERS = ("ktd", "ktd_random", "ktd_reverse", "iterative", "vanilla")


def check_decoder(name: str) -> None:
    """Raises: UserError: there is no such decoder."""
    if name not in DECODERS:
        raise UserError(f"there is no decoder {name!r}; choose from {', '.join(DECODERS)}")


def make_decoder(model) -> nn.Module:
    """Creates the decoder of a `MAED`.

    It is called as `decoder(feature, body, train=...)` and returns a `Regression`.

    Raises:
      UserError: no such decoder.
    """
    width, dropout = model.decoder_width, model.dropout
    match model.decoder:
        case "ktd" | "ktd_random" | "ktd_reverse":
            tree = joints_read(model.decoder, model.tree_seed)
            return KinematicTopologyDecoder(width, dropout, tree, name="decoder")
        case "iterative":
            return IterativeDecoder(width, dropout, name="decoder")
        case "vanilla":  # 0.5 is for the others, which have no attention; 0 disables it in both
            return VanillaDecoder(model.dim, model.heads, min(dropout, 0.1), name="decoder")
        case name:
            check_decoder(name)


def joints_read(decoder: str, seed: int = 0) -> tuple[tuple[int, ...], ...]:
    """The joints that each joint of a KTD variant reads, in the order of its inputs.

    - "ktd": its ancestors in SMPL's tree.
    - "ktd_random": its ancestors in a random tree, determined by `seed`
      (`skeleton.random_parents`); the paper does not say how it drew its tree.
    - "ktd_reverse": its descendants in SMPL's tree. The paper swaps parents and children, so the
      five leaves come first and read only the feature; the pelvis comes last and reads all joints.
    """
    match decoder:
        case "ktd_random":
            return skeleton.ancestors(skeleton.random_parents(len(skeleton.PARENTS), seed))
        case "ktd_reverse":
            return skeleton.descendants(skeleton.PARENTS)
    return skeleton.ANCESTORS
