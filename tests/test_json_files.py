import json
import math

import pytest

from maed_jax.files.json import (
    check_form,
    json_text,
    parse_json,
    read_json,
    read_json_lines,
    write_json,
)

FORM = {
    "name": str, "count": int, "rate?": float, "flag?": (bool, None), "points?": [[float, float]],
    "inner?": {"x": int}, "any?": object,
}  # fmt: skip
GOOD = {
    "name": "a", "count": 3, "rate": 1, "flag": None, "points": [[1, 2.5]], "inner": {"x": 0},
    "other": "is not looked at",
}  # fmt: skip


def test_what_is_written_is_whole_and_knows_no_nan(tmp_path):
    write_json(tmp_path / "a.json", {"x": (1.5, math.nan), "y": {"z": math.inf}})
    assert read_json(tmp_path / "a.json") == {"x": [1.5, None], "y": {"z": None}}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_good_content():
    check_form(GOOD, FORM)
    check_form({"name": "", "count": 0}, FORM)
    check_form({"name": "", "count": (1 << 31) - 1}, FORM)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "name is not text"),
        ({"count": -1}, "count is not a whole number from 0"),
        ({"count": True}, "count is not a whole"),
        ({"count": 1.0}, "count is not a whole"),
        ({"count": 1 << 31}, "count is not a whole"),
        ({"rate": float("nan")}, "rate is not a finite number"),
        ({"rate": 10**400}, "rate is not a finite number"),
        ({"rate": None}, "rate is not a finite number"),
        ({"flag": 1}, "flag is not true or false"),
        ({"points": [[1, 2], [1]]}, r"points\[1\] has 1 entries, not 2"),
        ({"points": [[1, "2"]]}, r"points\[0\]\[1\] is not a finite"),
        ({"points": [[1, 2, 3]]}, r"points\[0\] has 3 entries, not 2"),
        ({"points": {}}, "points is not a list"),
        ({"inner": []}, "inner is not an object"),
        ({"inner": {}}, "inner lacks 'x'"),
        ({"inner": {"x": "0"}}, r"^inner\.x is not a whole number"),
    ],
)
def test_wrong_content_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        check_form(GOOD | change, FORM)


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match="it lacks 'count'"):
        check_form({"name": "a"}, FORM)
    with pytest.raises(ValueError, match="it is not an object"):
        check_form([], FORM)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a":' * 100_000, "9" * 10_000, "\xff"])
def test_what_is_no_json(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError):
        read_json(path)


def test_files_and_text(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": 1.5}')
    assert read_json(path, {"a": float}) == {"a": 1.5}
    assert parse_json(b'{"a": 1}', object_pairs_hook=list) == [("a", 1)]
    with pytest.raises(ValueError, match="a is not text"):
        read_json(path, {"a": str})
    with pytest.raises(OSError):
        read_json(tmp_path / "none.json")


def test_short_lists_are_on_one_line_and_nothing_else_changes():
    content = {"a": [1, 2, 30], 'say "[1, 2]" [3]': ["[4,  5]", 'a"[6, 7]'], "b": [1.5, 2], "c": []}
    text = json_text(content, short_lists=True)
    assert json.loads(text) == json.loads(json_text(content)) == content
    assert "[1,2,30]" in text and "[1.5,2]" not in text and "[1,2,30]" not in json_text(content)


def test_lines_of_another_form_are_left_out(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"x": 1}\n{"y": 2}\n{"x": \n\xff\n{"x": 3}')
    assert read_json_lines(tmp_path / "a.jsonl", {"x": int}) == [{"x": 1}, {"x": 3}]
