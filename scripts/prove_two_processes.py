"""Checks that two processes train, checkpoint, validate, stop and resume as one would.

    python scripts/prove_two_processes.py [--workdir DIR]

Two processes on this machine, with one device each, communicate over the loopback interface (JAX's
distributed runtime, gloo's collectives on CPUs) and start from an earlier stage's encoder. SIGTERM
is sent to the second one only, halfway. Losses and scores are compared with those of one process
that has two devices. Takes minutes on two cores, mostly for compilation.
"""

import signal
import socket
import subprocess
import time
from pathlib import Path

import proof

SETTINGS = dict(steps=24, checkpoint_every=6, eval_every=8, mesh__data=-1)


def start(run: Path, port: int) -> list[subprocess.Popen]:
    processes = []
    for number in range(2):
        words = f"--distributed --coordinator=127.0.0.1:{port} --num_processes=2"
        words = [*words.split(), f"--process_id={number}"]
        with run.with_name(f"{run.name}-{number}.log").open("a") as log:
            processes.append(
                subprocess.Popen(
                    proof.command(run, *words, **SETTINGS), env=proof.environment(1), stderr=log
                )
            )
    return processes


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def main() -> None:
    directory = proof.workdir(__doc__.splitlines()[0], "proofs/two_processes")
    run, alone, earlier = (proof.fresh(directory / name) for name in ("two", "one", "stage1"))
    proof.train(earlier, config="debug:stage1")
    SETTINGS["init_from"] = earlier

    processes = start(run, free_port())
    while not (run / "metrics.jsonl").exists() or len(proof.losses(run)) < 10:
        if any(process.poll() is not None for process in processes):
            break
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGTERM)
    codes = [process.wait() for process in processes]
    steps = sorted(int(path.name) for path in (run / "checkpoints").iterdir())
    stopped = steps[-1]
    proof.verdict(
        codes == [143, 143] and 10 <= stopped < 24,
        f"SIGTERM to the second saved and stopped both after step {stopped} (status {codes})",
    )
    codes = [process.wait() for process in start(run, free_port())]
    proof.verdict(codes == [0, 0], "the same command ran to the end in both")

    proof.train(alone, devices=2, **SETTINGS)
    difference = proof.farthest(proof.losses(alone), proof.losses(run))
    proof.verdict(
        difference < 1e-5,
        f"24 losses, largest relative difference to one process's: {difference:.1e}",
    )
    scores = [
        [line["validation/pa_mpjpe"] for line in proof.lines(r) if "validation/pa_mpjpe" in line]
        for r in (run, alone)
    ]
    print(f"validation PA-MPJPE: {scores[0]} mm, with one process {scores[1]} mm")
    same = proof.digest(run, 24) == proof.digest(alone, 24)
    print(f"parameters, optimiser and data position bit-identical: {'yes' if same else 'no'}")


if __name__ == "__main__":
    main()
