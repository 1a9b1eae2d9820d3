"""`maed bench`: measures this machine."""

from __future__ import annotations

import importlib

from maed_jax.errors import UserError

# name -> module with `main(argv)`, and what it measures
BENCHES = {
    "data": ("maed_jax.bench.data", "reading and augmenting training data, beside the original's"),
}


def main(argv: list[str]) -> None:
    """Hands the arguments after the name of a benchmark to its module.

    Raises:
      UserError: there is no such benchmark.
    """
    if not argv or argv[0] in ("-h", "--help"):
        lines = "\n".join(f"  {name:<8}{text}" for name, (_, text) in BENCHES.items())
        print(f"usage: maed bench NAME ...\n\n{lines}\n\n`maed bench NAME --help` explains one.")
        raise SystemExit(0)
    name, *rest = argv
    if name not in BENCHES:
        raise UserError(f"there is no benchmark {name!r}; choose from {', '.join(BENCHES)}")
    importlib.import_module(BENCHES[name][0]).main(rest)
