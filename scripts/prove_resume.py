"""Checks that a run killed repeatedly ends bit-identical to an undisturbed one.

    python scripts/prove_resume.py [--workdir DIR]

It runs `debug:stage2` with the moving average on, saving every other step. kill -9 is sent at
random moments: while it starts, compiles, is between steps, or writes a checkpoint. Then
parameters, moving average, optimiser state, data position and the losses of every step are compared
with those of an undisturbed run. Takes minutes on two cores, mostly for compilation.
"""

import random
import subprocess
import time
from pathlib import Path

import proof

STEPS, KILLS, SEED = 160, 10, 0
SETTINGS = dict(steps=STEPS, checkpoint_every=2, ema=0.99)


def progress(run: Path) -> int:
    """Returns the number of steps whose losses are written, one complete line each."""
    try:
        return (run / "metrics.jsonl").read_text().count("\n")
    except FileNotFoundError:
        return 0


def main() -> None:
    directory = proof.workdir(__doc__.splitlines()[0], "proofs/resume")
    left_alone, killed = (proof.fresh(directory / name) for name in ("left_alone", "killed"))
    begin = time.monotonic()
    proof.train(left_alone, **SETTINGS)
    print(f"undisturbed it takes {time.monotonic() - begin:.0f} s", flush=True)

    chance, kills = random.Random(SEED), 0
    log = killed.with_suffix(".log").open("a")
    while True:
        process = subprocess.Popen(
            proof.command(killed, **SETTINGS), env=proof.environment(), stderr=log
        )
        # Some are killed at startup, most after a number of steps.
        if kills % 5 == 4:
            time.sleep(chance.uniform(0.5, 10))
        elif kills < KILLS:
            goal = progress(killed) + chance.randint(1, STEPS // (2 * KILLS))
            while process.poll() is None and progress(killed) < goal:
                time.sleep(0.02)
            time.sleep(chance.uniform(0, 0.3))
        else:
            process.wait()
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
        print(f"killed after step {progress(killed)}", flush=True)
    proof.verdict(process.returncode == 0, f"after {kills} kills it ran to the end")
    proof.verdict(kills >= KILLS, f"at least {KILLS} kills")
    one, other = proof.digest(left_alone, STEPS), proof.digest(killed, STEPS)
    for part in one:
        proof.verdict(one[part] == other[part], f"{part} bit-identical")
    same = proof.losses(left_alone).tolist() == proof.losses(killed).tolist()
    proof.verdict(same, f"all {STEPS} losses the same, none missing or repeated")


if __name__ == "__main__":
    main()
