"""The output of a prediction: one `.npz` per person and a `results.json`.

docs/prediction.md describes every field.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from maed_jax.errors import UserError, reason
from maed_jax.files.formats import check_format
from maed_jax.files.json import check_form, json_text, read_json
from maed_jax.files.numpy import check_axes, open_npz

if TYPE_CHECKING:
    from maed_jax.body.smpl import Body

FORMAT = 1  # increased when older readers would fail
MAX_FRAMES = 1 << 26  # frames of a video: three weeks at 30 per second
SUMMARY, PAGE = "results.json", "index.html"
_OURS = re.compile(
    r"person_\d+(\.npz|\.glb|\.bvh|_obj|\.pc2|_amass\.npz)|people\.glb|attention_\d+\.(npz|mp4|png)|"
    r"results\.json|overlay\.(mp4|jpg)|index\.html"
)


# Types and axes of a person's arrays; see `Person` for their meaning.
AXES = {
    "frames": "int n", "times": "float n", "boxes": "float n 4", "crops": "float n 3",
    "detected": "bool n", "confidence": "float n", "pose": "float n 72",
    "rotmat": "float n 24 3 3", "shape": "float n 10", "camera": "float n 3",
    "translation": "float n 3", "keypoints_3d": "float n 49 3", "keypoints_2d": "float n 49 2",
    "intrinsics": "float 4", "joints_3d": "float n 24 3", "raw_rotmat": "float n 24 3 3",
    "raw_camera": "float n 3", "raw_shape": "float n 10", "id": "int",
}  # fmt: skip
# What readers of results.json rely on, in the notation of `check_form`. A model passed in Python
# has no checkpoint.
FORM = {
    "video": {
        "path": str, "frames": int, "fps": float, "width": int, "height": int,
        "damaged_frames": list,
    },
    "model": {"maed_jax": str, "body?": str, "checkpoint?": str, "body_path?": (str, None)},
    "boxes": dict,
    "overlay": (str, None),
    "people": [{"id": int, "file": str, "frames": int, "detected": int}],
    "people_in_frame": [list],
    "exports": [str],
    "attention": [str],
    "smoothed": bool,
    "one_shape": bool,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Reconstruction:
    """A model's outputs for one person in every frame of their track.

    Camera axes: x right, y down, z forward.
    """

    id: int
    frames: np.ndarray
    """int64 [n] frame numbers in the video, from 0, ascending"""
    times: np.ndarray
    """float64 [n] seconds since the video's first frame"""
    boxes: np.ndarray
    """float32 [n 4] centre x, centre y, width, height of the person, pixels of the video"""
    crops: np.ndarray
    """float32 [n 3] the square that the model saw: centre x, centre y, side, pixels of the video"""
    detected: np.ndarray
    """bool [n]; True: the person was detected in this frame, or in those searched right before and
    after it; False: they were missed, and the box is interpolated or held"""
    confidence: np.ndarray
    """float32 [n] the detector's score, interpolated like the boxes; 0 where `detected` is False"""
    pose: np.ndarray
    """float32 [n 72] axis-angle, radians; joints relative to parents, the root to the camera"""
    rotmat: np.ndarray
    """float32 [n 24 3 3] the same rotations as matrices"""
    shape: np.ndarray
    """float32 [n 10] the body model's shape coefficients (betas)"""
    camera: np.ndarray
    """float32 [n 3] the crop's weak-perspective camera (s, tx, ty); see `body.camera`"""
    translation: np.ndarray
    """float32 [n 3] position of the body's origin in front of the camera `intrinsics`, metres"""
    keypoints_3d: np.ndarray
    """float32 [n 49 3] metres, camera axes, relative to the body's origin (see `translation`)"""
    keypoints_2d: np.ndarray
    """float32 [n 49 2] pixels of the video, projected by the crop's camera"""
    intrinsics: np.ndarray
    """float32 [4] fx, fy, cx, cy of the full image's camera, pixels; assumed, not measured"""

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        first, last = self.frames[0], self.frames[-1]
        return f"<{type(self).__name__} {self.id}: {len(self)} frames, {first} to {last}>"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Person(Reconstruction):
    """One person in every frame of their track, as returned by `smoothing.smooth_person`."""

    joints_3d: np.ndarray
    """float32 [n 24 3] the body's own joints; otherwise like `keypoints_3d`"""
    raw_rotmat: np.ndarray | None = None
    """float32 [n 24 3 3] the model's rotations, if `rotmat` is smoothed"""
    raw_camera: np.ndarray | None = None
    """float32 [n 3] the model's camera, if `camera` is smoothed"""
    raw_shape: np.ndarray | None = None
    """float32 [n 10] the model's betas, if `shape` is their mean over the track"""


def file_name(person: Person) -> str:
    return f"person_{person.id}.npz"


def attention_file_name(person_id: int) -> str:
    """Name of the file that `person_attention.save_attention` writes."""
    return f"attention_{person_id}.npz"


def save_person(path: str | Path, person: Person) -> None:
    """Writes a person as an `.npz` of the fields of `Person` that are not None."""
    fields = {field.name: getattr(person, field.name) for field in dataclasses.fields(person)}
    np.savez_compressed(path, **{name: v for name, v in fields.items() if v is not None})


def load_person(path: str | Path) -> Person:
    """Reads the output of `save_person`.

    Raises:
      UserError: there is no such file, or it is not valid.
    """
    try:
        with open_npz(path) as file:
            fields = {
                field.name: file[field.name]
                for field in dataclasses.fields(Person)
                if field.default is dataclasses.MISSING or field.name in file
            }
        check_axes(fields, AXES)
        check_frames(fields["frames"])
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except KeyError as error:
        raise UserError(f"{path} is not a person's file (it lacks {error})") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is not a person's file ({error})") from None
    return Person(**fields | {"id": int(fields["id"])})


def check_frames(frames: np.ndarray) -> None:
    """Raises ValueError unless `frames` can be the frame numbers of a track."""
    if not len(frames) or frames[0] < 0 or (frames[1:] <= frames[:-1]).any():
        raise ValueError("frames are not ascending numbers from 0")


def load_results(out: str | Path) -> tuple[dict, list[Person]]:
    """Returns the content of results.json in a folder of `maed predict`, and the people it lists.

    If anyone's times run backwards or mostly stand still, everyone's are their frames / fps.

    Raises:
      UserError: the folder has no results, or they are incomplete or invalid.
    """
    path = Path(out) / SUMMARY
    try:
        content = read_json(path, {"format": int})
        check_format(content["format"], FORMAT)
        check_form(content, FORM)
        _check_facts(content)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{out} has no {SUMMARY}: pass a folder that maed predict wrote") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as results ({reason(error)})") from None
    people = [load_person(Path(out) / person["file"]) for person in content["people"]]
    for listed, person in zip(content["people"], people):
        if person.id != listed["id"] or person.frames[-1] >= content["video"]["frames"]:
            raise UserError(f"{path} does not match {listed['file']}: run maed predict again")
    if not all(_times_go_on(person.times) for person in people):
        fps = content["video"]["fps"]
        people = [dataclasses.replace(person, times=person.frames / fps) for person in people]
    return content, people


def _times_go_on(times: np.ndarray) -> bool:
    steps = np.diff(times)
    return bool((steps >= 0).all() and 2 * (steps > 0).sum() >= len(steps))


def load_results_body(content: dict, given: Body | str | Path | None = None) -> Body:
    """Returns the body that the people of results.json were reconstructed with.

    Args:
      given: a body, its name or its path, as in `load_body`; None: the mannequin if the results are
        of it, otherwise the `--body` of `maed predict`, or that of the checkpoint.

    Raises:
      UserError: the body model cannot be found, or is not that of the results.
    """
    from maed_jax.body.files import load_body, load_saved_body

    model = content["model"]
    if given is None and model.get("body") == "mannequin":
        given = "mannequin"
    if given is not None:
        body = load_body(given)
    elif kept := model.get("body_path"):
        body = load_saved_body(kept, "the body of the results (--body gives another)")
    else:
        config = Path(model.get("checkpoint", "")) / "config.json"
        try:
            kept = read_json(config, {"body": str})["body"]
        except (OSError, ValueError):
            raise UserError(
                f"{config} does not say where the body model is; pass it with --body"
            ) from None
        body = load_saved_body(kept, f"the body of {config} (--body gives another)")
    if body.name != model.get("body", body.name):
        raise UserError(f"the results are of the body {model['body']!r}, not {body.name!r}")
    return body


def _check_facts(content: dict) -> None:
    """Raises ValueError if it names files outside its folder, or video or boxes are impossible."""
    files = [person["file"] for person in content["people"]]
    for name in [*files, *content["exports"], *content["attention"], content["overlay"] or SUMMARY]:
        if not name or name in (".", "..") or re.search(r"[/\\:\0]", name):
            raise ValueError(f"it names a file {name!r:.80} outside its folder")
    video = content["video"]
    if not (0 < video["frames"] <= MAX_FRAMES and 0 < video["fps"] <= 1e6):
        raise ValueError("its video has no frames, too many of them, or no frame rate")
    if video["frames"] != len(content["people_in_frame"]):  # readers allocate memory for each
        raise ValueError("people_in_frame does not have one entry per frame")
    if len(content["boxes"]) != 1:
        raise ValueError("boxes does not have exactly one entry")


def summary(people: list[Person], *, video: dict, **facts) -> dict:
    """Returns the content of results.json.

    Args:
      video: facts about the video; `frames`, their number, is required.
      facts: further fields, included as they are.
    """
    in_frame: list[list[int]] = [[] for _ in range(video["frames"])]
    for person in people:
        for frame in person.frames:
            in_frame[frame].append(person.id)
    return {
        "format": FORMAT,
        "video": video,
        **facts,
        "people": [
            {
                "id": person.id,
                "file": file_name(person),
                "frames": len(person),
                "first_frame": int(person.frames[0]),
                "last_frame": int(person.frames[-1]),
                "detected": int(person.detected.sum()),
            }
            for person in people
        ],
        "people_in_frame": in_frame,
    }


def is_ours(name: str) -> bool:
    """Whether a file of this name in a folder of results is one of ours."""
    return _OURS.fullmatch(name) is not None


def publish(stage: Path, out: Path, *, replace: bool = True) -> None:
    """Moves finished files from `stage` to `out`.

    replace: first remove all earlier results there; otherwise only files of the same names are
      replaced. Other files always stay.

    Raises:
      UserError: `out` cannot be written.
    """
    try:
        if replace:
            (out / SUMMARY).unlink(missing_ok=True)  # first, because it lists the others
            for path in out.iterdir():
                if is_ours(path.name):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        # The summary comes last, when all that it lists is there.
        for path in sorted(stage.iterdir(), key=lambda path: path.name == SUMMARY):
            target = out / path.name
            if target.is_dir():
                shutil.rmtree(target)
            path.replace(target)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {reason(error)}") from None


def write_summary(stage: Path, content: dict) -> None:
    """Writes results.json into `stage`, not atomically: `publish` makes it visible.

    Raises:
      OSError: it cannot be written.
    """
    (stage / SUMMARY).write_text(json_text(content, short_lists=True), encoding="utf-8")
