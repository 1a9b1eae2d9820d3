"""Files written by joblib 1.6, files in older forms by our own writer, and hostile ones."""

import bz2
import gzip
import lzma
import pickle
import zlib

import numpy as np
import pytest
from joblib_writer import joblib_bytes

from maed_jax.errors import UserError
from maed_jax.files import bounds
from maed_jax.files.joblib import read_joblib

CONTENT = {
    "img_name": np.array(["imageFiles/a.jpg", "b.jpg"]),
    "vid_name": np.array(["walk", "run, ü"], object),
    "joints2D": np.arange(24.0).reshape(2, 4, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "empty": np.zeros((0, 3)),
    "single": np.array(3),
    "small": np.arange(3, dtype=np.uint8),
    "n": 5,
}


def check(found):
    assert list(found) == list(CONTENT)
    for key, expected in CONTENT.items():
        expected = np.asarray(expected)
        expected = expected.astype(str) if expected.dtype.hasobject else expected
        np.testing.assert_array_equal(found[key], expected)
        assert np.asarray(found[key]).dtype == expected.dtype


@pytest.mark.parametrize("name", ["plain", "zlib"])
def test_what_joblib_itself_wrote(golden_dir, name):
    check(read_joblib(golden_dir / f"joblib_{name}.pt"))


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_form(tmp_path, protocol, aligned):
    data = joblib_bytes(CONTENT, protocol, aligned)
    path = tmp_path / "x.pt"
    path.write_bytes(data)
    found = read_joblib(path)
    check(found)
    assert not found["joints2D"].flags.writeable  # a view of the file
    for pack in (zlib.compress, gzip.compress, bz2.compress, lzma.compress):
        path.write_bytes(pack(data))
        check(read_joblib(path))
    path.write_bytes(lzma.compress(data, lzma.FORMAT_ALONE))
    check(read_joblib(path))


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("place", ["beside an array", "in an array of objects"])
@pytest.mark.parametrize("pack", [bytes, zlib.compress], ids=["plain", "compressed"])
def test_nothing_is_executed(tmp_path, place, pack):
    victim, path = tmp_path / "executed", tmp_path / "evil.pt"
    evil = Evil(str(victim))
    content = {"a": np.ones(2), "evil": evil}
    if place == "in an array of objects":
        content["evil"] = np.array([evil], object)
    path.write_bytes(pack(joblib_bytes(content)))
    with pytest.raises(UserError, match="evil.pt asks to construct .*open, which a joblib file"):
        read_joblib(path)
    assert not victim.exists()


def test_objects_other_than_text_are_refused(tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(joblib_bytes({"a": np.array(["x", 1.0], object)}))
    with pytest.raises(UserError, match="it holds an array of objects other than text"):
        read_joblib(path)


@pytest.mark.parametrize("pack", [bytes, zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_files_that_end_early(tmp_path, pack):
    path = tmp_path / "cut.pt"
    whole = pack(joblib_bytes({"a": np.ones(20), "b": np.array(["x"], object)}))
    for size in [*range(0, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match="cut.pt"):
            read_joblib(path)


@pytest.mark.parametrize("pack, place", [(zlib.compress, -1), (gzip.compress, -8)])
def test_a_wrong_sum_is_noticed(tmp_path, pack, place):
    whole = bytearray(pack(joblib_bytes({"a": np.ones(20)})))
    whole[place] ^= 1
    (tmp_path / "x.pt").write_bytes(whole)
    with pytest.raises(UserError, match="x.pt cannot be read as a joblib file: it is damaged"):
        read_joblib(tmp_path / "x.pt")


@pytest.mark.parametrize("pack", [bytes, zlib.compress, lzma.compress])
def test_files_that_go_on_after_their_end(tmp_path, pack):
    (tmp_path / "x.pt").write_bytes(pack(joblib_bytes({"a": np.ones(20)}) + b"more"))
    with pytest.raises(UserError, match="x.pt cannot be read .* it continues after its end"):
        read_joblib(tmp_path / "x.pt")


@pytest.mark.parametrize("pack", [bytes, zlib.compress], ids=["plain", "compressed"])
@pytest.mark.parametrize("claim", [1 << 20, 1 << 38, 1 << 62])
def test_an_array_never_takes_more_than_there_is(tmp_path, pack, claim):
    path = tmp_path / "large.pt"
    data = joblib_bytes({"a": np.ones(200, np.uint8)})  # 200 is written in two bytes: K\xc8
    length = pickle.dumps(claim, 2)[2:-1]
    path.write_bytes(pack(data.replace(b"K\xc8\x85", length + b"\x85")))
    with pytest.raises(UserError, match="it ends early|it unpacks to more"):
        read_joblib(path)


@pytest.mark.parametrize("start, message", [
    (b"PK\x03\x04", "zip archive"), (b"\x04\x22\x4d\x18", "LZ4"), (b"", "not a joblib file"),
    (b"text", "not a joblib file"), (b"\x80\x02.", "damaged"),
])  # fmt: skip
def test_other_files(tmp_path, start, message):
    path = tmp_path / "other.pt"
    path.write_bytes(start)
    with pytest.raises(UserError, match=f"other.pt.*{message}"):
        read_joblib(path)
    with pytest.raises(UserError, match="none.pt cannot be read: no such file"):
        read_joblib(tmp_path / "none.pt")


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("kind", ["array", "text"])
def test_what_unpacks_out_of_proportion_is_refused(tmp_path, monkeypatch, kind, pack):
    monkeypatch.setattr(bounds, "FREE", 1 << 20)
    content = {"a": np.zeros(1 << 22, np.uint8)}
    data = joblib_bytes(content) if kind == "array" else b"\x80\x02V" + b"a" * (1 << 22) + b"\n."
    path = tmp_path / "bomb.pt"
    path.write_bytes(pack(data))
    with pytest.raises(UserError, match="bomb.pt.*it unpacks to far more than its size"):
        read_joblib(path)


def test_random_damage_never_gets_further_than_a_user_error(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "x.pt"
    data = joblib_bytes(CONTENT, 4, True)
    for _ in range(200):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_joblib(path)
        except UserError:
            pass
