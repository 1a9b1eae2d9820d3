"""The `maed` command. Each verb is a module, and also runs as `python -m <module>`."""

from __future__ import annotations

import atexit
import contextlib
import errno
import importlib
import importlib.machinery
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator

import maed_jax
from maed_jax.errors import UserError, reason, suggest

VERBS = {
    "data": ("maed_jax.data.prepare", "prepare and check a dataset"),
    "train": ("maed_jax.training.train", "train a model or resume training"),
    "eval": (
        "maed_jax.evaluation.evaluate",
        "evaluate a checkpoint under named protocols",
    ),
    "compare": (
        "maed_jax.evaluation.compare",
        "compare two results, with confidence intervals over sequences",
    ),
    "table1": (
        "maed_jax.evaluation.table1",
        "print the paper's Table 1 with rows for a checkpoint",
    ),
    "ablate": (
        "maed_jax.ablation.study",
        "train and compare every row of the paper's Table 2",
    ),
    "predict": ("maed_jax.prediction.command", "reconstruct the people in videos or images"),
    "view": ("maed_jax.visual.viewer", "view the output of maed predict in the browser"),
    "animate": (
        "maed_jax.exports.animate",
        "export predicted people as GLB, BVH, OBJ, PC2 or AMASS",
    ),
    "export": (
        "maed_jax.exports.model",
        "export a model as one file that runs without this package",
    ),
    "convert": (
        "maed_jax.weights.convert",
        "convert the original's, timm's or Google's weights into a checkpoint",
    ),
    "body": ("maed_jax.body.check", "check which body model files are present"),
    "bench": ("maed_jax.bench", "measure speed on this machine"),
}

_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)
_LOADERS = {
    getattr(importlib.machinery.ExtensionFileLoader, name).__code__
    for name in ("create_module", "exec_module")
}

USAGE = """usage: maed VERB ...

3D human shape and pose from video.

{verbs}

`maed VERB --help` explains a verb; `maed --version` prints the version.
docs/ and scripts/ are in the source folder.
"""


def usage() -> str:
    return USAGE.format(verbs="\n".join(f"  {verb:<9}{text}" for verb, (_, text) in VERBS.items()))


def run(main: Callable[[list[str]], None], argv: list[str] | None = None) -> None:
    """Calls `main(argv)` and turns errors into one line on stderr and an exit status.

    The status is 1 for a `UserError` or a file that cannot be accessed, and 130 for Ctrl-C at any
    moment, for which the message of the `KeyboardInterrupt`, if any, is printed. Characters that
    stdout cannot show, such as file names that are not Unicode, become question marks.
    """
    if getattr(sys.stdout, "errors", None) == "strict":
        sys.stdout.reconfigure(errors="replace")
    with _interrupts() as interrupted:
        try:
            main(sys.argv[1:] if argv is None else argv)
        except KeyboardInterrupt as error:
            _end_interrupted(str(error))
        except Exception as error:
            if interrupted:  # a library turned it into another error
                _end_interrupted()
            if isinstance(error, UserError):
                sys.exit(f"maed: {error}")
            if isinstance(error, OSError) and error.errno in _REFUSED and error.filename:
                # Even asking whether a file is there raises some of these.
                sys.exit(f"maed: cannot read or write {error.filename}: {reason(error)}")
            if isinstance(error, BrokenPipeError):  # the reader has gone, as in `maed ... | head`
                sys.stderr.close()
                sys.exit(141)
            raise


@contextlib.contextmanager
def _interrupts() -> Iterator[list]:
    """Yields a list that is empty until Ctrl-C has raised `KeyboardInterrupt`.

    If it is raised in a callback, such as those of the import system, Python prints and drops it;
    if it is raised while a C or C++ library is being loaded, the process may crash. In both cases
    the signal is sent again a moment later, and nothing is printed.
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
        elif not seen:  # once interrupted, failures to tear down are expected
            before(unraisable)

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, as under nohup
        yield seen
        return
    before, sys.unraisablehook = sys.unraisablehook, dropped
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield seen
    finally:
        if seen:  # the process is ending; a second Ctrl-C ends it at once
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        else:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.unraisablehook = before


def _loads_library(frame: types.FrameType | None) -> bool:
    """Whether a C or C++ library is being loaded, in the frame or in its callers."""
    while frame and frame.f_code not in _LOADERS:
        frame = frame.f_back
    return frame is not None


def _end_interrupted(said: str = "") -> None:
    print(f"maed: {said or 'interrupted'}", file=sys.stderr)
    sys.exit(130)


def dispatch(argv: list[str]) -> None:
    """Passes the arguments after the verb to the verb's module.

    Raises:
      UserError: there is no such verb.
    """
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage(), end="")
        return
    if argv[0] == "--version":
        print(f"maed_jax {maed_jax.__version__}")
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
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends it at once
            # Python's own cleanup at exit may crash in XLA's threads after Ctrl-C, and the shell
            # would see that status instead of the interruption.
            threading._shutdown()  # waits for threads, including those that save
            atexit._run_exitfuncs()
            with contextlib.suppress(OSError, ValueError):  # the reader has gone
                sys.stdout.flush()
            os._exit(130)
        raise
    finally:
        # All is done and printed. A Ctrl-C during Python's cleanup would print a traceback, or
        # reach the shell as an interruption.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
