"""Files written by torch.save of PyTorch 2.13, and hostile ones made here."""

import io
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest

from maed_jax.errors import UserError
from maed_jax.files import bounds
from maed_jax.files.torch import Storage, Tensor, load_torch


@pytest.mark.parametrize("kind", ["zip", "legacy", "numpy"])
def test_both_layouts_hold_the_same(golden_dir, kind):
    checkpoint = load_torch(golden_dir / f"checkpoint_{kind}.pth.tar")
    assert checkpoint["epoch"] == 3
    assert checkpoint["performance"] == 45.7
    state = checkpoint["state_dict"]
    base = np.arange(12, dtype=np.float32)
    np.testing.assert_array_equal(state["module.weight"], base.reshape(3, 4))
    np.testing.assert_array_equal(state["module.transposed"], base.reshape(3, 4).T)
    np.testing.assert_array_equal(state["module.slice"], base[3:7])
    np.testing.assert_array_equal(state["module.parameter"], np.ones(2, np.float32))
    np.testing.assert_array_equal(state["module.flag"], [True, False])
    assert state["module.half"].dtype == np.float16
    assert state["module.bfloat16"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(state["module.bfloat16"].astype(np.float32), [1.5, -2.0])
    assert state["module.double"][0] == 1 / 3
    assert state["module.count"] == 7 and state["module.count"].shape == ()
    assert state["module.empty"].shape == (0, 3)
    optimizer = checkpoint["optimizer"]
    assert optimizer["param_groups"][0]["betas"] == (0.9, 0.999)
    np.testing.assert_array_equal(optimizer["state"][0]["exp_avg"], 2 * base)


def text(word: str) -> bytes:
    return b"X" + len(word).to_bytes(4, "little") + word.encode()


def tensor(kind="FloatStorage", n=3, size=None, pid="storage") -> bytes:
    """Returns the pickle of a tensor of `n` numbers in storage "0", as written by PyTorch 0.3."""
    number = b"J" + n.to_bytes(4, "little")
    length = number if size is None else text(size)
    storage = b"(" + text(pid) + f"ctorch\n{kind}\n".encode() + text("0") + text("cpu") + length
    return b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"tQK\x00" + number + b"\x85K\x01\x85tR"


def zipped(path, content: bytes, values, folder="archive/", **members):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{folder}data.pkl", b"\x80\x02" + content + b".")
        archive.writestr(f"{folder}data/0", np.asarray(values).tobytes())
        for name, data in members.items():
            archive.writestr(folder + name, data)
    return path


@pytest.mark.parametrize("folder", ["archive/", ""])
@pytest.mark.parametrize("kind, dtype", [
    ("ByteStorage", "u1"), ("CharStorage", "i1"), ("ShortStorage", "i2"), ("IntStorage", "i4"),
    ("LongStorage", "i8"), ("HalfStorage", "f2"), ("DoubleStorage", "f8"), ("BoolStorage", "?"),
])  # fmt: skip
def test_numbers_of_every_kind(tmp_path, kind, dtype, folder):
    values = np.array([1, 100, -3]).astype(dtype)
    size = b"ctorch\nSize\n(K\x01K\x02\x86tR"
    path = zipped(
        tmp_path / "a.pth", b"(" + tensor(kind) + size + b"t", values, folder,
        byteorder=b"little", other=b"", **{"mydata.pkl": b""},
    )  # fmt: skip
    found, shape = load_torch(path)
    np.testing.assert_array_equal(found, values)
    assert found.dtype == values.dtype and shape == (1, 2)


@pytest.mark.parametrize(
    "content, values, members",
    [
        (tensor(), np.zeros(4, "f4"), {}),
        (tensor(), np.zeros(2, "f4"), {}),
        (tensor(pid="module"), np.zeros(3, "f4"), {}),
        (tensor(size="3"), np.zeros(3, "f4"), {}),
        (tensor(), np.zeros(3, "f4"), {"byteorder": b"big"}),
        (tensor(), np.zeros(3, "f4"), {"other/data.pkl": b"N."}),
    ],
    ids=["more bytes", "fewer bytes", "no storage", "no size", "byte order", "two pickles"],
)
def test_checkpoints_that_do_not_fit_together_are_refused(tmp_path, content, values, members):
    with pytest.raises(UserError, match="a.pth is not a PyTorch|cannot be read as a PyTorch"):
        load_torch(zipped(tmp_path / "a.pth", content, values, **members))


def test_tensors_that_share_numbers_count_as_the_copies_that_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "FREE", 1000)
    path, one = tmp_path / "a.pth", tensor(n=10_000)
    for count in (5, 50):
        entries = b"".join(text(str(i)) + one for i in range(count))
        zipped(path, b"(" + entries + b"d", np.zeros(10_000, "f4"))
        if count == 5:
            assert len(load_torch(path)) == 5
    with pytest.raises(UserError, match="it unpacks to far more than its size"):
        load_torch(path)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def zip_of(pickled: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    return data.getvalue()


@pytest.mark.parametrize("wrap", [zip_of, bytes], ids=["zip", "legacy"])
def test_nothing_is_executed(tmp_path, wrap):
    victim = tmp_path / "executed"
    path = tmp_path / "evil.pth"
    path.write_bytes(wrap(pickle.dumps({"state_dict": Evil(str(victim))})))
    with pytest.raises(UserError, match="asks to construct .*open"):
        load_torch(path)
    assert not victim.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"not a checkpoint", zip_of(b""), zip_of(pickle.dumps({}))[:-30], pickle.dumps(3)],
    ids=["empty", "text", "no pickle", "cut off", "no magic number"],
)
def test_broken_files_are_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match="broken.pth") as error:
        load_torch(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="none.pth cannot be read: no such file"):
        load_torch(tmp_path / "none.pth")


def test_a_truncated_checkpoint_is_refused(tmp_path, golden_dir):
    path = tmp_path / "cut.pth"
    for kind in ("zip", "legacy"):
        whole = (golden_dir / f"checkpoint_{kind}.pth.tar").read_bytes()
        for size in range(0, len(whole), 97):
            path.write_bytes(whole[:size])
            with pytest.raises(UserError):
                load_torch(path)


@pytest.mark.parametrize(
    "view",
    [(0, (5,), (1,)), (2, (3,), (1,)), (0, (10**9,), (0,)), (0, (2, 2), (1,)), (-1, (2,), (1,))],
)
def test_a_tensor_never_reaches_beyond_its_storage(view):
    storage = Storage(np.float32, 4)
    storage.fill(bytes(16))
    with pytest.raises(ValueError):
        Tensor(storage, *view).array()
