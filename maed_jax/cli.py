"""The `maed` command: one verb, one module; each also runs as `python -m <module>`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

from maed_jax.errors import UserError

VERBS = {
    "data": ("maed_jax.data.prepare", "prepare a dataset for training and evaluation"),
    "train": ("maed_jax.training.train", "train a model, or go on training one"),
    "eval": (
        "maed_jax.evaluation.evaluate",
        "evaluate a checkpoint on a split and print its table",
    ),
    "compare": (
        "maed_jax.evaluation.compare",
        "compare two results of maed eval, with intervals over sequences",
    ),
    "table1": ("maed_jax.evaluation.table1", "the paper's Table 1 with a checkpoint's own rows"),
    "ablate": ("maed_jax.evaluation.ablation", "train and compare the rows of the paper's Table 2"),
    "predict": ("maed_jax.inference.command", "reconstruct the people in videos or pictures"),
    "view": ("maed_jax.visual.viewer", "look at what predict wrote, in the browser"),
    "animate": (
        "maed_jax.exports.animate",
        "write people that were predicted as GLB, BVH or OBJ",
    ),
    "export": ("maed_jax.exports.model", "write a model as one file that runs by itself"),
    "convert": (
        "maed_jax.weights.convert",
        "turn the original's, timm's or Google's weights into a checkpoint",
    ),
    "body": ("maed_jax.body.check", "see what a body model file holds"),
    "bench": ("maed_jax.bench", "measure the speed of this machine"),
}

USAGE = """usage: maed VERB ...

3D human shape and pose from video.

{verbs}

`maed VERB --help` explains a verb.
"""


def usage() -> str:
    return USAGE.format(verbs="\n".join(f"  {verb:<9}{text}" for verb, (_, text) in VERBS.items()))


def run(main: Callable[[list[str]], None], argv: list[str] | None = None) -> None:
    """Calls `main(argv)`; a `UserError` becomes one line on stderr and exit status 1."""
    try:
        main(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        sys.exit(f"maed: {error}")
    except KeyboardInterrupt:
        print("maed: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone, as in `maed ... | head`
        sys.stderr.close()
        sys.exit(141)


def dispatch(argv: list[str]) -> None:
    """Hands the arguments after the verb to the verb's module.

    Raises:
      UserError: there is no such verb.
    """
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage(), end="")
        return
    verb, *rest = argv
    if verb not in VERBS:
        import difflib

        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(VERBS)}"
        raise UserError(f"there is no verb {verb!r}; {hint}")
    importlib.import_module(VERBS[verb][0]).main(rest)


def main() -> None:
    run(dispatch)


if __name__ == "__main__":
    main()
