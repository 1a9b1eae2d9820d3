"""`maed view`: shows the results of `maed predict` in the browser, or saves them as one HTML file.

From Python:

    from maed_jax.visual.viewer import save_page
    save_page("out", "dance.html")
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from maed_jax.arguments import RESULTS_BODY_HELP, Parser, from_zero
from maed_jax.errors import UserError
from maed_jax.files.atomic import atomic_write
from maed_jax.inference.results import (
    Person,
    attention_file_name,
    load_results,
    load_results_body,
)

if TYPE_CHECKING:
    from maed_jax.inference.person_attention import Attention
    from maed_jax.inference.video import Video

MAX_SIDE = 640  # longest side of the video in the page, pixels
PORT = 8000


def save_page(out: str | Path, path: str | Path, *, body: str | Path | None = None) -> Path:
    """Writes the results in the folder `out` as one self-contained HTML file.

    Args:
      out: a folder that `maed predict` wrote.
      path: of the HTML file.
      body: path of the body model, if that of the checkpoint is not available.

    Raises:
      UserError: there are no results, or no body for them, or the file cannot be written.
    """
    from maed_jax.visual.viewer_page import make_page

    path = Path(path)
    # Opened first, so that an unwritable path fails before the work.
    with atomic_write(path, "w") as file, tempfile.TemporaryDirectory() as directory:
        data, title, video = gather(out, Path(directory), body)
        file.write(
            make_page(data, title=title, video=None if video is None else video.read_bytes())
        )
    return path


def gather(
    out: str | Path, directory: Path, body: str | Path | None = None
) -> tuple[bytes, str, Path | None]:
    """Returns the page's data, title, and video inside `directory` (None: no video)."""
    from maed_jax.visual.viewer_data import page_data

    content, people = load_results(out)
    if not people:
        raise UserError(f"the results in {out} contain no people: there is nothing to show")
    model = load_results_body(content, body)
    video, overlay = prepare_video(content, Path(out), directory / "video.mp4")
    title = Path(content["video"]["path"]).name
    attention = read_attention(Path(out), people)
    data = page_data(content, people, model, title=title, attention=attention, overlay=overlay)
    return data, title, video


def read_attention(out: Path, people: Sequence[Person]) -> dict[int, Attention]:
    """Returns what the model attended to, by person id, for people who have an attention file.

    Raises:
      UserError: a file's frames differ from its person's.
    """
    paths = [(person, out / attention_file_name(person.id)) for person in people]
    existing = [(person, path) for person, path in paths if path.is_file()]
    if not existing:  # do not wait for JAX
        return {}
    from maed_jax.inference.person_attention import load_attention

    attentions = {}
    for person, path in existing:
        attentions[person.id] = attention = load_attention(path)
        if not np.array_equal(attention.frames, person.frames):
            raise UserError(f"{path} does not have the frames of the person's results: remove it")
    return attentions


def prepare_video(content: dict, out: Path, path: Path) -> tuple[Path | None, bool]:
    """Returns the video for the page, and whether bodies are already drawn in it.

    This is a small copy of the predicted video, in a format that browsers play; if that video is
    gone, of the overlay video, if there is one.
    """
    from tqdm import tqdm

    from maed_jax.inference.video import VideoWriter

    facts = content["video"]
    video, drawn = _open_shown(content, out)
    if video is None:
        return None, False
    width, height = video.size
    if drawn:  # it may have a view from the side at its right
        width = round(height * facts["width"] / facts["height"])
    scale = min(1, MAX_SIDE / max(width, height))
    # Another video may be there by now: if shorter, it simply ends earlier.
    frames = itertools.islice(video.frames(), facts["frames"])
    with VideoWriter(path, video.fps) as writer:
        for frame in tqdm(frames, desc="copying video", total=facts["frames"], unit=" frames"):
            image = frame.image(round(scale * max(video.size)))
            writer.write(image[:, : round(scale * width)], frame.time)
    return path, drawn


def _open_shown(content: dict, out: Path) -> tuple[Video | None, bool]:
    """Opens the predicted video, or else the overlay video, and returns whether it is that."""
    from maed_jax.inference.image_sequence import open_source

    facts = content["video"]
    with contextlib.suppress(UserError):
        return open_source(facts["path"], facts["fps"]), False
    overlay, video = out / (content["overlay"] or "overlay.mp4"), None
    if overlay.suffix == ".mp4":
        with contextlib.suppress(UserError):
            video = open_source(overlay)
    print(
        f"maed: the video {facts['path']} is no longer there; "
        + ("the page has no video" if video is None else "the page shows the overlay video"),
        file=sys.stderr,
    )
    return video, True


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="maed view",
        description="Show results of maed predict in the browser: the bodies in 3D next to the "
        "video, and, with results of maed predict --attention, what the model attended to.",
    )
    parser.add_argument("out", metavar="OUT", help="folder that maed predict wrote")
    parser.add_argument(
        "--save", metavar="FILE", help="write one self-contained HTML file, and exit"
    )
    parser.add_argument(
        "--port",
        type=from_zero,
        default=PORT,
        metavar="N",
        help=f"port on this machine (default: {PORT}; 0: any free one)",
    )
    parser.add_argument("--body", metavar="PATH", help=RESULTS_BODY_HELP)
    return parser


def main(argv: list[str]) -> None:
    args = parser().parse_args(argv)
    if args.save:
        path = save_page(args.out, args.save, body=args.body)
        print(f"page: {path} ({path.stat().st_size / 1e6:.1f} MB)")
        return
    from maed_jax.visual.viewer_page import make_page
    from maed_jax.visual.viewer_server import VIDEO, make_server

    # Opened first, so that a port in use fails before the work.
    with make_server(args.port) as server, tempfile.TemporaryDirectory() as directory:
        data, title, server.video = gather(args.out, Path(directory), args.body)
        video = None if server.video is None else VIDEO
        server.page = make_page(data, title=title, video=video).encode()
        url = f"http://127.0.0.1:{server.server_port}/"
        print(f"{url} shows {args.out}; press Ctrl-C to stop", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
