"""Feeds every file reader thousands of damaged files; only documented errors may result.

    python scripts/fuzz.py --inputs 10000 [--only NAME ...] [--seed 0] [--json FILE]

Each reader runs in its own process, so one that crashes the process or hangs is detected and named
while the rest continue. Exits with status 1 if any input gave something other than "refused in one
line" or "read"; `--show NAME NUMBER` writes that input to a file and reads it.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import select
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 60  # seconds without output after which a reader's process is killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="per reader (default: 10000)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="readers (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="append the results to FILE as JSON lines")
    parser.add_argument(
        "--show", nargs=2, metavar=("NAME", "NUMBER"), help="read one input in this process"
    )
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    if options.show:
        return show(options.show[0], int(options.show[1]), options.seed)
    from fuzz_targets import TARGETS

    names = options.only or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        sys.exit(f"there is no reader {unknown.pop()!r}; choose from {', '.join(TARGETS)}")
    print(f"{'reader':<26}{'inputs':>8}{'refused':>9}{'read':>8}{'wrong':>7}{'seconds':>9}")
    failed = False
    for name in names:
        found = fuzz(name, options.inputs, options.seed)
        print(
            f"{name:<26}{found['inputs']:>8}{found['refused']:>9}{found['read']:>8}"
            f"{found['wrong']:>7}{found['seconds']:>9.0f}"
        )
        for what, numbers in found["bugs"].items():
            print(f"    {len(numbers)}x {what}, input {numbers[0]}")
        failed |= bool(found["wrong"])
        if options.json:
            with open(options.json, "a") as file:
                file.write(json.dumps({"reader": name, "seed": options.seed} | found) + "\n")
    sys.exit(failed)


def fuzz(name: str, inputs: int, seed: int) -> dict:
    """Returns counts of the outcomes, and `bugs`: what went wrong -> numbers of the inputs."""
    begin, number = time.monotonic(), 0
    counts, bugs = collections.Counter(), collections.defaultdict(list)
    while number < inputs:
        reading, writing = os.pipe()
        if (process := os.fork()) == 0:
            os.close(reading)
            child(name, number, inputs, seed, writing)
        os.close(writing)
        for number, outcome in words(process, reading):
            kind = outcome if outcome in ("read", "refused") else "wrong"
            counts[kind] += 1
            if kind == "wrong":
                bugs[re.sub(r"0x[0-9a-f]+", "0x", outcome)].append(number)
            number += 1
            if sys.stderr.isatty() and number % 100 == 0:
                done = f"{name}: {number} of {inputs}, {counts['wrong']} wrong"
                print(f"\r{done:<79}", end="\r", file=sys.stderr, flush=True)
        os.close(reading)
        _, status = os.waitpid(process, 0)
        if number < inputs:  # it never reported a result for this one
            counts["wrong"] += 1
            bugs[f"the process ended with status {status}"].append(number)
            number += 1
    return {
        "inputs": inputs, **{kind: counts[kind] for kind in ("refused", "read", "wrong")},
        "seconds": round(time.monotonic() - begin, 1), "bugs": dict(bugs),
    }  # fmt: skip


def words(process: int, pipe: int):
    """Yields (number, outcome) as the process reports them, until it ends or is silent too long."""
    rest = b""
    while select.select([pipe], [], [], PATIENCE)[0]:
        if not (data := os.read(pipe, 1 << 16)):
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield json.loads(line)
    os.kill(process, signal.SIGKILL)


def child(name: str, start: int, inputs: int, seed: int, pipe: int) -> NoReturn:
    """Reads inputs from number `start` on and writes one line for each."""
    import fuzzing
    from fuzz_targets import TARGETS

    target, out = TARGETS[name], os.fdopen(pipe, "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # discard what readers print
    os.dup2(nowhere, 2)
    with tempfile.TemporaryDirectory() as folder:
        seeds = target.seeds(Path(folder))
        path = Path(folder) / target.file
        for number in range(start, inputs):
            path.write_bytes(fuzzing.mutated(target, seeds, number, seed))
            taken, wrong = fuzzing.judge(target, path)
            out.write(json.dumps([number, wrong or ("read" if taken else "refused")]) + "\n")
    os._exit(0)


def show(name: str, number: int, seed: int) -> None:
    import fuzzing
    from fuzz_targets import TARGETS

    target = TARGETS[name]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    seeds = target.seeds(folder)
    path = folder / target.file
    path.write_bytes(fuzzing.mutated(target, seeds, number, seed))
    print(path, file=sys.stderr)
    print(target.read(path))


if __name__ == "__main__":
    main()
