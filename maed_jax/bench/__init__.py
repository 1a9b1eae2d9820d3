"""`maed bench`: measures speed on this machine."""

from __future__ import annotations

import importlib

from maed_jax.errors import UserError
from maed_jax.jax_setup import keep_memory

# name -> module with `main(argv)`, and what it does
BENCHES = {
    "model": ("maed_jax.bench.model", "the network, forward: whole, by parts, by size"),
    "train": ("maed_jax.bench.train", "a training step, and the cost of saving memory"),
    "smpl": ("maed_jax.bench.smpl", "the body model, compared with smplx if installed"),
    "data": ("maed_jax.bench.data", "reading training data, compared with the original's reader"),
    "eval": ("maed_jax.bench.evaluation", "evaluation end to end, compared with the network alone"),
    "predict": ("maed_jax.bench.prediction", "a video end to end, compared with the network alone"),
    "scale": (
        "maed_jax.bench.scale",
        "a step on many devices; a model of large machines",
    ),
    "compare": ("maed_jax.bench.compare", "is one result worse than another?"),
}


def main(argv: list[str]) -> None:
    """Runs the benchmark named by the first argument with the remaining arguments.

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
    keep_memory()  # as all commands do; without the compile cache, since compile time is measured
    importlib.import_module(BENCHES[name][0]).main(rest)
