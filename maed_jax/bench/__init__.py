"""`maed bench`: measures this machine."""

from __future__ import annotations

import importlib

from maed_jax.errors import UserError
from maed_jax.jax_setup import keep_memory

# name -> module with `main(argv)`, and what it measures
BENCHES = {
    "model": ("maed_jax.bench.model", "the network, forward: whole, by parts, by size"),
    "train": ("maed_jax.bench.train", "a training step, and what saving memory costs"),
    "smpl": ("maed_jax.bench.smpl", "the body model, beside smplx where that is installed"),
    "data": ("maed_jax.bench.data", "reading and augmenting training data, beside the original's"),
    "eval": ("maed_jax.bench.evaluation", "evaluation from end to end, beside the network alone"),
    "predict": ("maed_jax.bench.prediction", "a video from end to end, beside the network alone"),
    "scale": (
        "maed_jax.bench.scale",
        "what a step asks of many devices; a model of large machines",
    ),
    "compare": ("maed_jax.bench.compare", "whether one result is worse than another"),
}


def main(argv: list[str]) -> None:
    """Hands the arguments after the name of a benchmark to its module.

    Raises:
      UserError: there is no such benchmark.
    """
    if not argv or argv[0] in ("-h", "--help"):
        lines = "\n".join(f"  {name:<9}{text}" for name, (_, text) in BENCHES.items())
        print(f"usage: maed bench NAME ...\n\n{lines}\n\n`maed bench NAME --help` explains one.")
        raise SystemExit(0)
    name, *rest = argv
    if name not in BENCHES:
        raise UserError(f"there is no benchmark {name!r}; choose from {', '.join(BENCHES)}")
    keep_memory()  # as all commands do; but programs are compiled anew, for that is measured too
    importlib.import_module(BENCHES[name][0]).main(rest)
