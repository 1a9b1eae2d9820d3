"""The `maed` command: one verb, one module; each also runs as `python -m <module>`."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import importlib.machinery
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator

from maed_jax.errors import UserError, reason, suggest

VERBS = {
    "data": ("maed_jax.data.prepare", "prepare a dataset for training and evaluation"),
    "train": ("maed_jax.training.train", "train a model, or continue training one"),
    "eval": (
        "maed_jax.evaluation.evaluate",
        "evaluate a checkpoint on a split and print its table",
    ),
    "compare": (
        "maed_jax.evaluation.compare",
        "compare two results of maed eval, with intervals over sequences",
    ),
    "table1": (
        "maed_jax.evaluation.table1",
        "print the paper's Table 1 with a checkpoint's own rows",
    ),
    "ablate": (
        "maed_jax.ablation.study",
        "train and compare the rows of the paper's Table 2",
    ),
    "predict": ("maed_jax.prediction.command", "reconstruct the people in videos or pictures"),
    "view": ("maed_jax.visual.viewer", "show what maed predict wrote in the browser"),
    "animate": (
        "maed_jax.exports.animate",
        "write predicted people as GLB, BVH or OBJ",
    ),
    "export": (
        "maed_jax.exports.model",
        "write a model as one file that runs without this package",
    ),
    "convert": (
        "maed_jax.weights.convert",
        "turn the original's, timm's or Google's weights into a checkpoint",
    ),
    "body": ("maed_jax.body.check", "check what the files of a body model hold"),
    "bench": ("maed_jax.bench", "measure the speed of this machine"),
}

_LOADERS = {
    getattr(importlib.machinery.ExtensionFileLoader, name).__code__
    for name in ("create_module", "exec_module")
}

USAGE = """usage: maed VERB ...

3D human shape and pose from video.

{verbs}

`maed VERB --help` explains a verb; docs/ and scripts/ are in the source folder.
"""


def usage() -> str:
    return USAGE.format(verbs="\n".join(f"  {verb:<9}{text}" for verb, (_, text) in VERBS.items()))


def run(main: Callable[[list[str]], None], argv: list[str] | None = None) -> None:
    """Calls `main(argv)`; a `UserError` becomes one line on stderr and exit status 1, and so does a
    file that may not be read or written.

    So does Ctrl-C, with status 130, wherever it comes; a `KeyboardInterrupt` may say what is left.
    What stdout cannot show, such as names of files that are not Unicode, becomes question marks.
    """
    if getattr(sys.stdout, "errors", None) == "strict":
        sys.stdout.reconfigure(errors="replace")
    with _interrupts() as interrupted:
        try:
            main(sys.argv[1:] if argv is None else argv)
        except KeyboardInterrupt as error:
            _end_interrupted(str(error))
        except Exception as error:
            if interrupted:  # which some library made another error of
                _end_interrupted()
            if isinstance(error, UserError):
                sys.exit(f"maed: {error}")
            if isinstance(error, PermissionError) and error.filename:
                # Even to ask what there is in a closed folder is an error.
                sys.exit(f"maed: cannot read or write {error.filename}: {reason(error)}")
            if isinstance(error, BrokenPipeError):  # our reader has gone, as in `maed ... | head`
                sys.stderr.close()
                sys.exit(141)
            raise


@contextlib.contextmanager
def _interrupts() -> Iterator[list]:
    """Gives a list that is empty until Ctrl-C has raised `KeyboardInterrupt`.

    Where that is raised in a callback, such as those of the import system, Python prints and drops
    it; where it is raised through code in C++ that is being loaded, the process may crash of it.
    In both cases it comes again a moment later, and nothing is printed.
    """
    seen: list = []

    def again():
        here = threading.main_thread().ident
        threading.Timer(0.02, signal.pthread_kill, (here, signal.SIGINT)).start()

    def interrupt(_, frame):
        if _loads_library(frame):
            again()
            return
        seen.append(True)
        raise KeyboardInterrupt

    def dropped(unraisable):
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            again()
        elif not seen:  # after it, that half-made things cannot be taken down is no news
            before(unraisable)

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, as by nohup
        yield seen
        return
    before, sys.unraisablehook = sys.unraisablehook, dropped
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield seen
    finally:
        if seen:  # the process ends; once more ends it at once
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        else:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.unraisablehook = before


def _loads_library(frame: types.FrameType | None) -> bool:
    """Whether a library in C or C++ is being loaded, in the frame or what has called it."""
    while frame and frame.f_code not in _LOADERS:
        frame = frame.f_back
    return frame is not None


def _end_interrupted(said: str = "") -> None:
    print(f"maed: {said or 'interrupted'}", file=sys.stderr)
    sys.exit(130)


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
        raise UserError(f"there is no verb {verb!r}; {suggest(verb, VERBS)}")
    importlib.import_module(VERBS[verb][0]).main(rest)


def main() -> None:
    try:
        run(dispatch)
    except SystemExit as end:
        if end.code == 130:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # once more ends it at once
            # What Python takes down by itself when it ends may crash in XLA's threads after Ctrl-C,
            # and the shell would be told of that in place of the interruption.
            threading._shutdown()  # waits for threads, those that save among them
            atexit._run_exitfuncs()
            with contextlib.suppress(OSError, ValueError):  # our reader has gone
                sys.stdout.flush()
            os._exit(130)
        raise
    finally:
        # All is done and said. Ctrl-C while Python takes itself down would be told to the shell as
        # an interruption, or be a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
