import errno
import io
import struct
import tracemalloc
import zipfile

import pytest

from maed_jax.files import bounds
from maed_jax.files.bounds import Archive, Budget, read_exactly


def archive(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


def test_budgets_grow_with_the_file():
    assert Budget.packed(10).left == bounds.FREE == Budget.plain(0).left
    assert Budget.packed(10 << 20).left == bounds.RATIO * (10 << 20)
    assert Budget.packed(10 << 30).left == bounds.LARGEST
    assert Budget.plain(1 << 20).left == bounds.FREE + bounds.COPIES * (1 << 20)
    budget = Budget(10)
    budget.spend(10)
    with pytest.raises(ValueError, match="far more than its size"):
        budget.spend(1)


def test_memory_grows_with_what_is_there(tmp_path):
    assert read_exactly(io.BytesIO(b"abcdef"), 3) == b"abc"
    (tmp_path / "a").write_bytes(bytes(1 << 20))
    tracemalloc.start()
    try:
        with (tmp_path / "a").open("rb") as file:
            with pytest.raises(ValueError, match="it ends early"):
                read_exactly(file, 1 << 50)
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_whatever_they_are_called(tmp_path, method):
    members = [("a", b"1" * 100), ("../../b", b"2"), ("/etc/c", b"3")]
    with open(archive(tmp_path / "x.zip", members, method), "rb") as file:
        found = Archive(file)
        assert found.names == [name for name, _ in members]
        assert [found.read(name) for name in found.names] == [data for _, data in members]
        with pytest.raises(KeyError):
            found.read("d")
    assert [path.name for path in tmp_path.rglob("*")] == ["x.zip"]


def overlapping(path):
    """Many names for the same bytes, as in the most effective zip bombs."""
    data = archive(path, [("a", bytes(1 << 16))]).read_bytes()
    start = data.index(b"PK\x01\x02")
    entry, end = data[start : data.index(b"PK\x05\x06")], data[data.index(b"PK\x05\x06") :]
    entries = b"".join(entry[:-1] + bytes([i]) for i in range(200))
    counts = struct.pack("<HHII", 200, 200, len(entries), start)
    path.write_bytes(data[:start] + entries + end[:8] + counts + end[20:])


def encrypted(path):
    data = bytearray(archive(path, [("a", b"1" * 100)]).read_bytes())
    for begin in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
        data[begin] |= 1
    path.write_bytes(data)


HOSTILE = {
    "a bomb": (lambda path: archive(path, [("a", bytes(1 << 22))]), "far more than its size"),
    "a bomb in parts": (
        lambda path: archive(path, [(str(i), bytes(1 << 18)) for i in range(16)]), "far more than",
    ),
    "overlapping members": (overlapping, "far more than its size"),
    "a name twice": (lambda path: archive(path, [("a", b"1"), ("a", b"2")]), "two members"),
    "another compression": (
        lambda path: archive(path, [("a", b"1")], zipfile.ZIP_LZMA), "an unsupported compression",
    ),
    "a secret": (encrypted, "password|encrypted"),
    "no archive": (lambda path: path.write_bytes(b"text"), "not a zip file"),
    "a wrong sum": (
        lambda path: path.write_bytes(
            archive(path, [("a", b"abcdef")], zipfile.ZIP_STORED).read_bytes().replace(
                b"abcdef", b"abcdeg")), "CRC",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr(bounds, "FREE", 1 << 20)
    write, message = HOSTILE[name]
    path = tmp_path / "x.zip"
    write(path)
    with open(path, "rb") as file, pytest.raises(ValueError, match=message):
        Archive(file).read("a")


def test_an_error_of_the_disk_is_none_of_the_archive():
    with pytest.raises(OSError, match="broken"), bounds._damage():
        raise OSError(errno.EIO, "broken")
    with pytest.raises(ValueError, match="to go nowhere"), bounds._damage():
        raise OSError(errno.EINVAL, "to go nowhere")
