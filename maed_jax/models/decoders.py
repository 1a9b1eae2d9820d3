"""The decoders of the paper's Table 2 by name: features `[b t d]` to pose, shape and camera."""

from __future__ import annotations

from flax import linen as nn

from maed_jax.body import skeleton
from maed_jax.errors import UserError
from maed_jax.models.folded import FoldedDecoder
from maed_jax.models.iterative import IterativeDecoder
from maed_jax.models.ktd import KinematicTopologyDecoder
from maed_jax.models.vanilla_decoder import VanillaDecoder

DECODERS = ("ktd", "ktd_random", "ktd_reverse", "iterative", "vanilla")


def check_decoder(name: str) -> None:
    """Raises: UserError: there is no such decoder that can be trained."""
    if name not in DECODERS:
        raise UserError(f"there is no decoder {name!r}; choose from {', '.join(DECODERS)}")


def make_decoder(model) -> nn.Module:
    """The decoder that the settings of a `MAED` ask for.

    It is called as `decoder(feature, body, train=...)` and answers a `Regression`.

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
        case "vanilla":  # 0.5 is for the others, which have no attention; 0 turns either off
            return VanillaDecoder(model.dim, model.heads, min(dropout, 0.1), name="decoder")
        case "folded":  # not a choice of users, but what `folding.fold_decoder` makes
            return FoldedDecoder(name="decoder")
        case name:
            check_decoder(name)


def joints_read(decoder: str, seed: int = 0) -> tuple[tuple[int, ...], ...]:
    """The joints that each joint reads in a variant of KTD, in the order in which it reads them.

    - "ktd": its ancestors in SMPL's tree.
    - "ktd_random": its ancestors in a random tree, which `seed` decides
      (`skeleton.random_parents`); the paper does not say how it drew its tree.
    - "ktd_reverse": its descendants in SMPL's tree. The paper exchanges parent and child, so the
      five leaves come first and read the feature alone; the pelvis comes last and reads all.
    """
    match decoder:
        case "ktd_random":
            return skeleton.ancestors(skeleton.random_parents(len(skeleton.PARENTS), seed))
        case "ktd_reverse":
            return skeleton.descendants(skeleton.PARENTS)
    return skeleton.ANCESTORS
