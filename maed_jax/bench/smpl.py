"""`maed bench smpl`: the speed of the body model, compared with smplx if installed.

Bodies are posed with random rotations and shapes. "joints" is what training computes: the 49
keypoints, from only the vertices that they need; "mesh" is all vertices. Gradients are those of the
output's sum of squares with respect to rotations and shapes.

smplx (with PyTorch, on the CPU; neither is installed with this package) poses the same body: its
vertices are checked against ours before anything is timed. The body is the mannequin, which has
SMPL's tree and about as many vertices, unless --body names another. Brackets give the interquartile
range over rounds. On an accelerator eight of our calls are queued at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from maed_jax.arguments import positive
from maed_jax.bench import record


def main(argv: list[str]) -> None:
    parser = record.timed_parser("smpl", __doc__, rounds=15)
    parser.add_argument("--batch", type=positive(int), default=128, help="bodies; default: 128")
    parser.add_argument("--body", default="mannequin", help="a path; default: mannequin")
    options = parser.parse_args(argv)
    record.check(options)
    result = measure(options.body, options.batch, options.rounds, record.clock_of(options))
    print(text(result))
    settings = {"body": options.body, "batch": options.batch, "cpu": options.cpu}
    record.write(options.json, "smpl", settings=settings, **result)
    if options.plot:
        from maed_jax.bench.plots import plot_bars

        plot_bars(options.plot, result["rows"], "seconds", "milliseconds", 1e3)


def measure(name: str, batch: int, rounds: int, seconds: Callable[[], float]) -> dict[str, Any]:
    """Returns the rows of our functions and smplx's, and the yardstick's summary."""
    import jax
    import jax.numpy as jnp

    from maed_jax.bench import clock, peers, programs
    from maed_jax.bench.yardstick import Yardstick
    from maed_jax.body import smpl
    from maed_jax.body.files import load_body
    from maed_jax.body.rotations import matrix_from_axis_angle

    body = load_body(name)
    points = smpl.keypoint_body(body)
    keys = jax.random.split(jax.random.key(0))
    rotmat = matrix_from_axis_angle(0.3 * jax.random.normal(keys[0], (batch, 24, 3)))
    shape = jax.random.normal(keys[1], (batch, 10))

    def joints(body, rotmat, shape):
        return smpl.keypoints(body, smpl.pose_body(body, rotmat, shape))

    def mesh(body, rotmat, shape):
        return smpl.pose_body(body, rotmat, shape).verts

    def gradient(path):
        return jax.grad(lambda body, *x: jnp.sum(path(body, *x) ** 2), argnums=(1, 2))

    cases = {
        "joints": programs.compile(joints, points, rotmat, shape),
        "joints with gradient": programs.compile(gradient(joints), points, rotmat, shape),
        "mesh": programs.compile(mesh, body, rotmat, shape),
        "mesh with gradient": programs.compile(gradient(mesh), body, rotmat, shape),
    }
    theirs, absent = peers.smplx(body, rotmat, shape, mesh(body, rotmat, shape))
    if absent:
        record.say(f"skipping smplx: {absent}")
    yard = Yardstick(clock=seconds)
    times = clock.rounds(cases | theirs, rounds, yard.read, say=record.say, seconds=seconds)
    rows = []
    for case in times:
        row = record.row(case, times[case], yard.matmuls())
        if program := cases.get(case):
            row = record.row(case, times[case], yard.matmuls(), program.count.operations)
            row |= {"bytes": program.count.bytes, "compile seconds": program.compile_seconds}
            peer = "smplx with gradient" if case.endswith("gradient") else "smplx"
            if peer in times:
                pairs = zip(times[peer].seconds, times[case].seconds)
                row["ratio"] = clock.spread(other / own for other, own in pairs)
        rows.append(row)
    return {"yardstick": yard.summary(), "rows": rows}


TITLES = ("", "ms", "times as fast as smplx", "G operations", "of matmul rate", "GB")


def text(result: dict[str, Any]) -> str:
    """Formats a result for printing."""
    lines = [
        [
            row["name"],
            record.median_range(row["seconds"], times=1e3),
            record.median_range(row.get("ratio")),
            f"{row['operations'] / 1e9:.3g}" if "operations" in row else "",
            record.median_range(row.get("share"), "{:.2f}"),
            f"{row['bytes'] / 1e9:.2g}" if "bytes" in row else "",
        ]
        for row in result["rows"]
    ]
    return f"{record.table(TITLES, lines)}\n\n{record.yardstick_lines(result['yardstick'])}"


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
