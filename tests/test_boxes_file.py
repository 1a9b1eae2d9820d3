import numpy as np
import pytest

from maed_jax.errors import UserError
from maed_jax.inference.boxes_file import read_boxes


def text(tmp_path, content):
    path = tmp_path / "boxes.txt"
    path.write_text(content, encoding="utf-8")
    return path


def npz(tmp_path, **arrays):
    path = tmp_path / "boxes.npz"
    np.savez(path, **arrays)
    return path


def test_mot_text(tmp_path):
    found = read_boxes(text(tmp_path, "1,7,10,20,30,60,1,-1,-1,-1\n3,7,14,20,30,60,0.5\n"))
    np.testing.assert_array_equal(found.frames, [0, 2])
    np.testing.assert_array_equal(found.ids, [7, 7])
    np.testing.assert_allclose(found.boxes, [[24, 49, 30, 60], [28, 49, 30, 60]])
    np.testing.assert_allclose(found.scores, [1, 0.5])


@pytest.mark.parametrize(
    "content",
    [
        "frame,id,x,y,w,h\n1,7,10,20,30,60\n",
        "# made by hand\n\n1 7 10 20 30 60\n",
        "1;7;10;20;30;60;-1\r\n",
        "\ufeff1,7,10,20,30,60\r\n",  # as written by editors on Windows
        "\ufeffframe,id,x,y,w,h\n1,7,10,20,30,60\n",
        "1, 7, 10.0, 2e1, 30, 60, 1, 1\n2,8,1,1,9,9,0\n",  # confidence 0: ignore
    ],
)
def test_forms_of_text(tmp_path, content):
    found = read_boxes(text(tmp_path, content))
    np.testing.assert_allclose(found.boxes, [[24, 49, 30, 60]])
    assert (found.frames[0], found.ids[0], found.scores[0]) == (0, 7, 1)


def test_npz(tmp_path):
    boxes = np.array([[25, 50, 30, 60], [29, 50, 30, 60]])
    found = read_boxes(npz(tmp_path, frames=[0, 2], boxes=boxes))
    assert list(found.frames) == [0, 2] and list(found.ids) == [1, 1]
    np.testing.assert_array_equal(found.boxes, boxes)
    found = read_boxes(npz(tmp_path, frames=[0, 0], boxes=boxes, ids=[4, 2], scores=[0.5, 1]))
    assert [t.id for t in found.tracks(1, 10)] == [2, 4]


def test_ids_are_kept_and_short_gaps_filled(tmp_path):
    lines = [f"{frame},5,{10 * frame},0,20,40" for frame in (1, 2, 6, 7, 60, 61)]
    lines += [f"{frame},2,300,0,20,40" for frame in (40,)]
    two, five = read_boxes(text(tmp_path, "\n".join(lines))).tracks(100, fps=10)
    assert (two.id, list(two.frames)) == (2, [39])
    assert list(five.frames) == [0, 1, 2, 3, 4, 5, 6, 59, 60]
    np.testing.assert_allclose(five.boxes[:7, 0], 19 + 10 * np.arange(7))
    assert list(five.frames[~five.detected]) == [2, 3, 4]
    assert [list(five.frames[run])[0] for run in five.runs()] == [0, 59]


def test_boxes_may_come_in_any_order(tmp_path):
    lines = [f"{i},{id},{9 * i},0,20,{40 + i}" for i in range(1, 9) for id in (3, 5)]
    in_order = read_boxes(text(tmp_path, "\n".join(lines))).tracks(8, fps=10)
    shuffled = np.random.default_rng(0).permutation(lines)
    for one, other in zip(read_boxes(text(tmp_path, "\n".join(shuffled))).tracks(8, 10), in_order):
        for name in ("id", "frames", "boxes", "detected", "scores"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_boxes_without_ids_are_linked(tmp_path):
    lines = [f"{i},-1,{x + 3 * i},50,40,80,0.2" for i in range(1, 21) for x in (0, 300)]
    found = read_boxes(text(tmp_path, "\n".join(lines))).tracks(20, fps=10)
    assert [t.id for t in found] == [1, 2] and all(len(t.frames) == 20 for t in found)


def test_ids_are_kept_next_to_boxes_without(tmp_path):
    lines = [f"{i},{id},{x},50,40,80" for i in range(1, 21) for id, x in ((7, 0), (4, 200))]
    lines += [f"{i},-1,{400 + 3 * i},50,40,80,0.2" for i in range(1, 21)]
    found = read_boxes(text(tmp_path, "\n".join(lines))).tracks(20, fps=10)
    assert [t.id for t in found] == [4, 7, 8] and all(len(t.frames) == 20 for t in found)
    np.testing.assert_allclose(np.diff([t.boxes[0, 0] for t in found]), [-200, 403], rtol=1e-5)


def test_frames_that_the_video_does_not_have(tmp_path):
    found = read_boxes(text(tmp_path, "1,1,0,0,9,9\n41,1,0,0,9,9\n"))
    with pytest.raises(UserError, match="boxes.txt, line 2: the video has 40 frames"):
        found.tracks(40, 10)


GOOD = {"frames": [0], "boxes": [[1.0, 2, 3, 4]]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no boxes file"),
        ("", "contains no boxes"),
        ("frame,id,x,y,w,h\n", "contains no boxes"),
        ("1,7,10,20,30\n", "line 1: found 5 fields, at least 6 are needed"),
        ("1,1,2,3,4,5\n2,1,a,3,4,5\n", "line 2: '2,1,a,3,4,5' is not a row of numbers"),
        ("1,1,2,3,4,5\nframe,id,x,y,w,h\n", "line 2: .* is not a row of numbers"),
        ("1,1,2,3,0,5\n", "line 1: a box needs finite numbers, and a width and height above 0"),
        ("1,1,2,nan,4,5\n", "line 1: a box needs finite"),
        ("1,1,2,3,4,5,1\n2,1,2,3,4,5,nan\n", "line 2: a confidence must be a finite number"),
        ("1,1,2,3,4,5,inf\n", "line 1: a confidence must"),
        (GOOD | {"scores": [np.nan]}, "row 0: a confidence must be a finite number"),
        (GOOD | {"scores": [-np.inf]}, "row 0: a confidence must"),
        ("\n0,1,2,3,4,5\n", "line 2: frames are numbered from 0 in .npz files, from 1 in text"),
        ("1.5,1,2,3,4,5\n", "line 1: frame 1.5 is not a whole number"),
        ("1,0.5,2,3,4,5\n", "line 1: id 0.5 is not a whole number"),
        ("nan,1,2,3,4,5\n", "line 1: frame nan is not a whole number"),
        ("1e300,1,2,3,4,5\n", "line 1: frame 1e\\+300 is not a whole number"),
        ("1,1,2,3,4,5\n1,1,2,3,4,5\n", "line 2: this id already has a box in this frame"),
        (b"\xff\xfe\x00binary", "neither text nor .npz"),
        ({"boxes": [[1, 2, 3, 4]]}, "has no array frames"),
        ({"a": [1]}, "has no array frames and no boxes"),
        (
            GOOD | {"boxes": [[1, 2, 3]]},
            r"boxes must be numbers of shape \[1, 4\], not int64 \[1, 3\]",
        ),
        (GOOD | {"frames": [0.5]}, "frames must be whole numbers .* not float64"),
        (GOOD | {"ids": [1, 2]}, r"ids must be whole numbers of shape \[1\], not int64 \[2\]"),
        (GOOD | {"frames": [-1]}, "row 0: frames are numbered from 0 in .npz files"),
        (GOOD | {"frames": ["a"]}, "frames must be whole numbers of .*, not <U1"),
        (GOOD | {"boxes": np.array([{}])}, "not an .npz file of plain arrays"),
    ],
)
def test_wrong_files_get_one_line_that_names_the_place(tmp_path, content, message):
    if content is None:
        path = tmp_path / "none.txt"
    elif isinstance(content, dict):
        path = npz(tmp_path, **content)
    else:
        path = tmp_path / "boxes.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as error:
        read_boxes(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_invalid_npz_files(tmp_path):
    (tmp_path / "a.npz").write_text("hello")
    with pytest.raises(UserError, match="not an .npz file"):
        read_boxes(tmp_path / "a.npz")
