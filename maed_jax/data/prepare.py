"""Prepare, list and check datasets, and render a test video."""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import inspect
import io
import json
import logging
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from maed_jax.arguments import Parser, positive, seed
from maed_jax.data.builders import ALIASES, available, builder_class, is_own, usual_name
from maed_jax.data.records import dataset_directory, files_of
from maed_jax.data.summary import summary
from maed_jax.errors import UserError, reason
from maed_jax.files.json import read_json
from maed_jax.files.locks import lock
from maed_jax.files.python import mistakes


def main(argv: list[str]) -> None:
    if argv[:1] == ["build"]:
        _build_command(argv[1:])
        return
    parser = Parser(prog="maed data", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="build|list|check|video")
    verbs.add_parser("build", help="prepare a dataset: maed data build NAME --data_dir DIR")
    verbs.add_parser("list", help="list the datasets that can be prepared")
    check = verbs.add_parser("check", help="validate a prepared dataset and draw its labels")
    check.add_argument("directory", help="folder of a dataset, or of its versions")
    check.add_argument(
        "--out", default="sheet.png", help="contact sheet to write; default: sheet.png"
    )
    check.add_argument("--split", help="split to draw; default: test, or one that exists")
    check.add_argument(
        "--tracks", type=positive(int), default=8, help="rows of the contact sheet; default: 8"
    )
    check.add_argument(
        "--frames", type=positive(int), default=2000,
        help="records of each split to examine; default: 2000",
    )  # fmt: skip
    check.add_argument("--all", action="store_true", help="examine every record")
    _add_processes(check)
    video = verbs.add_parser("video", help="render a video of people walking, with ground truth")
    video.add_argument(
        "--out", required=True, help="mp4 file to write, with its ground truth next to it"
    )
    video.add_argument("--seed", type=seed, default=0, help="for people and motion; default: 0")
    video.add_argument("--frames", type=int, default=96, help="2 to 3000; default: 96")
    video.add_argument("--people", type=int, default=2, help="1 to 6; default: 2")
    arguments = vars(parser.parse_args(argv))
    verb = arguments.pop("verb")
    if verb == "list":
        for name, about in available().items():
            print(f"{usual_name(name):<14} {about}")
        print(
            "\nAll but mannequins are built from their owners' files: maed data build NAME --help "
            "shows how to arrange them.\nTo build a dataset of your own: maed data build FILE.py, "
            "see docs/data.md."
        )
    elif verb == "check":
        _check_command(**arguments)
    else:
        from maed_jax.datasets.mannequins.demo_video import write_video

        out = arguments.pop("out")
        truth = write_video(out, **arguments)
        print(f"wrote {out}\nwrote {truth}")


def _add_processes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--processes", type=positive(int), help="processes to use; default: one per core"
    )


def _build_command(argv: list[str]) -> None:
    if not argv or argv[0].startswith("-"):
        names = ", ".join(map(usual_name, available()))
        if argv[:1] in (["-h"], ["--help"]):
            print("usage: maed data build NAME --data_dir DIR ...\n")
            print(
                f"NAME is one of: {names}; or the path of a Python file that defines your own "
                "dataset, see docs/data.md.\n\nmaed data build NAME --help explains the rest."
            )
            raise SystemExit(0)
        raise UserError(f"name a dataset: maed data build NAME ..., with NAME one of {names}")
    name, *rest = argv
    name = ALIASES.get(name, name)
    cls = builder_class(name)
    with mistakes(inspect.getfile(cls)) if is_own(name) else contextlib.nullcontext():
        _build_with(name, cls, rest)


def _build_with(name: str, cls: type, argv: list[str]) -> None:
    """Builds the dataset `name` with the remaining arguments and prints a summary."""
    configs = {config.name: config.description for config in cls.BUILDER_CONFIGS}
    width = max(map(len, configs), default=0)
    parser = Parser(
        prog=f"maed data build {usual_name(name)}",
        description=inspect.getdoc(cls),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="configs:\n"
        + "\n".join(f"  {key:<{width}}  {text}" for key, text in configs.items()),
    )
    parser.add_argument("--data_dir", required=True, metavar="DIR", help="folder for datasets")
    first = next(iter(configs), None)
    parser.add_argument(
        "--config", default=first, choices=list(configs), help=f"see below; default: {first}"
    )
    _add_processes(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing dataset")
    cls.add_arguments(parser)
    options = vars(parser.parse_args(argv))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clean up as for Ctrl-C
    data_dir = options.pop("data_dir")
    try:
        directory = build(name, data_dir, options.pop("config"), **options)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        where = error.filename or data_dir
        raise UserError(f"{where}: {reason(error)}; finished work is kept") from None
    print(summary(directory))


def _check_command(directory: str, out: str, split: str | None, tracks: int, **options) -> None:
    from maed_jax.data.check import check
    from maed_jax.data.sheet import write_sheet

    directory = dataset_directory(directory)
    splits = files_of(directory)
    default = next(name for name in ("test", "validation", *splits) if name in splits)
    write_sheet(directory, out, split or default, tracks)  # first, so that mistakes show at once
    frames = None if options["all"] else options["frames"]
    found = check(directory, frames, options["processes"])
    for name, findings in found.items():
        print("\n".join(findings.lines(name)))
    faulty = sum(findings.faulty for findings in found.values())
    broken = any(findings.counts for findings in found.values())
    print(f"wrote {out}")
    if broken:
        some = f"{faulty} of the examined records have faults"
        raise UserError(f"{directory} is damaged: {some if faulty else 'see above'}")


def build(
    name: str,
    data_dir: str | Path,
    config: str | None = None,
    *,
    overwrite: bool = False,
    processes: int | None = None,
    **options,
) -> Path:
    """Prepares a dataset below `data_dir` and returns its folder.

    The folder appears only when complete. If it exists and was built with the same options, nothing
    is done.

    Args:
      name: a dataset's name, or the path of a Python file that defines one.
      processes: number of processes; default: one per core.
      options: arguments of the dataset's own builder.

    Raises:
      UserError: the folder exists and was built with other options, or the options are wrong.
    """
    cls = builder_class(name)
    data_dir = Path(data_dir).expanduser().resolve()
    if data_dir.exists() and not data_dir.is_dir():
        raise UserError(f"{data_dir} is a file: give --data_dir a folder")
    import tensorflow_datasets as tfds

    # TFDS would first look for each dataset in Google's bucket, with no option to disable that, and
    # create an empty temporary folder for what it might find.
    tfds.core.DatasetInfo.initialize_from_bucket = lambda info: None
    tfds.disable_progress_bar()
    logging.getLogger("absl").setLevel(logging.ERROR)
    data_dir.mkdir(parents=True, exist_ok=True)
    final_builder = cls(data_dir=data_dir, config=config, processes=processes, **options)
    final = Path(final_builder.data_dir)
    built_with = {key: str(value) for key, value in sorted(options.items()) if value is not None}
    if is_own(name):  # an edited file may make other records
        file = Path(inspect.getfile(cls))
        built_with[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    if not overwrite and _is_built(final, built_with):
        return final
    with _build_folder(final_builder, data_dir, built_with) as work:
        if not overwrite and _is_built(final, built_with):  # by another process in the meantime
            return final
        builder = cls(data_dir=work, config=config, processes=processes, **options)
        if hasattr(builder, "parts"):
            builder.parts = work.parent / "parts"
        with contextlib.redirect_stdout(io.StringIO()):  # progress bars go to stderr
            settings = tfds.download.DownloadConfig(try_download_gcs=False)
            builder.download_and_prepare(file_format="array_record", download_config=settings)
        built = Path(builder.data_dir)
        (built / "options.json").write_text(json.dumps(built_with))
        if final.exists():
            shutil.rmtree(final)
        final.parent.mkdir(parents=True, exist_ok=True)
        built.rename(final)
    return final


@contextlib.contextmanager
def _build_folder(builder, data_dir: Path, built_with: dict[str, str]) -> Iterator[Path]:
    """Yields a folder to build in, next to the final one.

    It contains TFDS's own marks of unfinished work, so that an existing dataset stays until the new
    one is complete. If a build with finished parts does not end, the folder stays, and the same
    build resumes from it.

    Raises:
      UserError: the same build is already running.
    """
    key = json.dumps([str(builder.version), built_with])
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    folder = data_dir / f".parts-{builder.name}-{builder.builder_config.name}-{digest}"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as file:
        if not lock(file):
            raise UserError(
                f"{folder} is in use: the same build is already running; wait for it or stop it"
            )
        shutil.rmtree(folder / "new", ignore_errors=True)
        complete = False
        try:
            yield folder / "new"
            complete = True
        finally:
            if complete or not any(folder.glob("parts/*/*.json")):  # nothing to resume from
                shutil.rmtree(folder, ignore_errors=True)


def _is_built(directory: Path, built_with: dict[str, str]) -> bool:
    """Returns whether it is built. Raises: UserError: it was built with other options."""
    if directory.exists() and _built_with(directory) != built_with:
        raise UserError(
            f"{directory} was built with other options ({_options_text(directory)}): "
            "add --overwrite to replace it, or use another --data_dir"
        )
    return directory.exists()


def _built_with(directory: Path) -> dict | None:
    try:
        return read_json(directory / "options.json", dict)
    except (OSError, ValueError):
        return None


def _options_text(directory: Path) -> str:
    options = _built_with(directory)
    if options is None:
        return "unknown"
    return ", ".join(f"{name}={value}" for name, value in options.items()) or "the defaults"


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
