"""Untrusted files that try to execute something, to reach other files, or to exhaust memory.

Each is passed to every reader of its kind; all refuse it in one line, and nothing happens. The
tests of each reader cover what else it refuses.
"""

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import pickle
import socket
import subprocess
import sys
import threading
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import fake_dataset
import numpy as np
import pytest
import small_results
from joblib_writer import joblib_bytes
from test_unpickle import Call, hostile

from maed_jax.body.files import load_body
from maed_jax.data.records import Records
from maed_jax.datasets.h36m.metadata import read_metadata
from maed_jax.datasets.maed_db.database import read_database
from maed_jax.datasets.smpl_labels import read_mosh, read_spin
from maed_jax.datasets.threedpw.sequence import read_sequence
from maed_jax.errors import UserError
from maed_jax.files import bounds
from maed_jax.files.joblib import read_joblib
from maed_jax.files.torch import LEGACY_MAGIC, load_torch
from maed_jax.files.unpickle import restricted_load
from maed_jax.inference.boxes_file import read_boxes
from maed_jax.inference.person_attention import load_attention
from maed_jax.inference.results import load_person, load_results
from maed_jax.inference.video import open_video
from maed_jax.weights.arrays import read_arrays
from maed_jax.weights.conversion import convert
from maed_jax.weights.original import from_torch

# --- Monitoring execution -------------------------------------------------------------------------

FORBIDDEN = (
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect",
    "socket.getaddrinfo", "socket.bind", "shutil.rmtree", "code.__new__", "webbrowser.open",
    "ftplib.connect", "urllib.Request",
)  # fmt: skip
seen: list[str] = []
watching = threading.Event()


def _audit(event: str, arguments: tuple) -> None:
    if watching.is_set() and event in FORBIDDEN:
        seen.append(event)


sys.addaudithook(_audit)  # Python cannot remove audit hooks


@pytest.fixture
def watched():
    seen.clear()
    watching.set()
    yield
    watching.clear()
    assert not seen, f"a file made {seen} happen"


def test_the_watch_would_see_it(tmp_path):
    seen.clear()
    watching.set()
    subprocess.run(["true"], check=True)
    pickle.loads(dict(hostile(tmp_path / "sentinel"))["os.system"])
    watching.clear()
    assert {"subprocess.Popen", "os.system"} <= set(seen) and (tmp_path / "sentinel").exists()


def refuse(read, path) -> str:
    """Returns the one line with which a reader refuses a file."""
    before = sorted(path.parent.parent.rglob("*"))
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert message and "\n" not in message and len(message) < 700
    assert sorted(path.parent.parent.rglob("*")) == before  # nothing was written anywhere
    return message


def converted(path: Path):
    convert(path, path.parent / "converted")


def estimator(path: Path):
    from_torch(path, body="mannequin")


# --- Forms of one hostile pickle ------------------------------------------------------------------


def npz_of(*members: tuple[str, bytes], method=zipfile.ZIP_DEFLATED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return data.getvalue()


def npy_of(pickled: bytes) -> bytes:
    """Returns an .npy with an array of objects: the pickle after NumPy's header."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + pickled


def joblib_object(pickled: bytes) -> bytes:
    """Returns a joblib file with an array of objects, whose pickle is a separate one."""
    whole = joblib_bytes({"a": np.array(["x"], object)})
    inner = pickle.dumps(np.array(["x"], object), 2)
    assert whole.count(inner) == 1
    return whole.replace(inner, pickled)


FIELDS = ("frames", "boxes", "format", "id", "v_template", "imgname", "pose")


def npz_of_all(pickled: bytes) -> bytes:
    return npz_of(*((f"{name}.npy", npy_of(pickled)) for name in FIELDS))


def legacy_torch(pickled: bytes) -> bytes:
    return b"".join(pickle.dumps(part, 2) for part in (LEGACY_MAGIC, 1001, {})) + pickled


FORMS = {
    "pickle": (lambda data: data, ".pkl", (restricted_load, load_body, read_sequence, read_mosh)),
    "torch": (lambda data: npz_of(("a/data.pkl", data)), ".pth",
              (load_torch, read_arrays, converted, estimator)),
    "old torch": (legacy_torch, ".pth.tar", (load_torch, read_arrays, converted, estimator)),
    "joblib": (lambda data: data, ".pt", (read_joblib, read_database)),
    "joblib, inside": (joblib_object, ".pt", (read_joblib, read_database)),
    "joblib, zlib": (zlib.compress, ".pt", (read_joblib, read_database)),
    "joblib, gzip": (gzip.compress, ".pt", (read_joblib,)),
    "joblib, bz2": (bz2.compress, ".pt", (read_joblib,)),
    "joblib, xz": (lzma.compress, ".pt", (read_joblib,)),
    "joblib, zlib in gzip": (lambda data: gzip.compress(zlib.compress(data)), ".pt",
                             (read_joblib,)),
    "npz": (npz_of_all, ".npz", (load_body, read_boxes, load_person, load_attention,
                                 read_spin, converted)),
    "npz in npz": (lambda data: npz_of(("inner.npz", npz_of_all(data))), ".npz",
                   (load_body, read_boxes, load_person, load_attention, read_spin)),
    "npy": (npy_of, ".npy", (read_spin,)),
    "npy as npz": (npy_of, ".npz", (load_body, read_boxes, load_person, load_attention)),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_nothing_runs(tmp_path, watched, form):
    pack, ending, readers = FORMS[form]
    sentinel, folder = tmp_path / "sentinel", tmp_path / "folder"
    folder.mkdir()
    for name, data in hostile(sentinel):
        if form.startswith("joblib") and data[:1] != b"\x80" and form != "joblib, inside":
            data = b"\x80\x02" + data  # the first byte of joblib's files
        path = folder / f"a{ending}"
        path.write_bytes(pack(data))
        for read in readers:
            refuse(read, path)
            assert not sentinel.exists(), name


def test_a_body_does_not_trust_what_lies_beside_it(tmp_path, watched):
    (tmp_path / "body").mkdir()
    sentinel = tmp_path / "sentinel"
    evil = npy_of(pickle.dumps(Call(os.system, f"touch {sentinel}")))
    (tmp_path / "body" / "SMPL_NEUTRAL.npz").write_bytes(npz_of())
    (tmp_path / "body" / "J_regressor_extra.npy").write_bytes(evil)
    refuse(load_body, tmp_path / "body")
    assert not sentinel.exists()


# --- PyTorch's storages ---------------------------------------------------------------------------


def tensor(storage: bytes, rest: bytes) -> bytes:
    """Returns a pickle of one tensor: its storage's persistent id, then offset, shape, strides."""
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((" + storage + b"tQ" + rest + b"\x89}tR."


def storage(size: bytes, key: bytes = b"0", kind: bytes = b"FloatStorage") -> bytes:
    return b"Vstorage\nctorch\n" + kind + b"\nV" + key + b"\nVcpu\n" + size


PLAIN = b"K\x00(K\x02t(K\x01t"  # offset 0, shape (2,), strides (1,)
STORAGES = {
    "larger than its bytes": tensor(storage(b"I1000000000000\n"), PLAIN),
    "smaller than its bytes": tensor(storage(b"K\x01"), PLAIN),
    "of a negative size": tensor(storage(b"I-2\n"), PLAIN),
    "elsewhere": tensor(storage(b"K\x02", b"../../../etc/passwd"), PLAIN),
    "in the pickle": tensor(storage(b"K\x02", b"../data.pkl"), PLAIN),
    "of no kind": tensor(storage(b"K\x02", kind=b"UntypedStorage"), PLAIN),
    "an offset outside": tensor(storage(b"K\x02"), b"K\x01(K\x02t(K\x01t"),
    "a negative offset": tensor(storage(b"K\x02"), b"I-1\n(K\x02t(K\x01t"),
    "strides outside": tensor(storage(b"K\x02"), b"K\x00(K\x02t(I1000000000\nt"),
    "negative strides": tensor(storage(b"K\x02"), b"K\x01(K\x02t(I-1\nt"),
    "strides of nothing": tensor(storage(b"K\x02"), b"K\x00(I1000000000000\nt(K\x00t"),
    "many axes": tensor(storage(b"K\x02"), b"K\x00" + (b"(" + b"K\x01" * 200 + b"t") * 2),
    "no storage": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(N" + PLAIN + b"\x89}tR.",
}  # fmt: skip


@pytest.mark.parametrize("name", STORAGES)
def test_tensors_stay_within_their_storages(tmp_path, watched, name):
    path = tmp_path / "folder" / "a.pth"
    path.parent.mkdir()
    path.write_bytes(npz_of(("a/data.pkl", STORAGES[name]), ("a/data/0", bytes(8))))
    refuse(load_torch, path)


def test_the_storages_would_be_read_if_they_were_right(tmp_path):
    path = tmp_path / "a.pth"
    pickled = tensor(storage(b"K\x02"), PLAIN)
    path.write_bytes(npz_of(("a/data.pkl", pickled), ("a/data/0", bytes(8))))
    np.testing.assert_array_equal(load_torch(path), [0, 0])


# --- Bombs ----------------------------------------------------------------------------------------


def npy(size: int) -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros(size, np.uint8))
    return out.getvalue()


HUGE = 1 << 26  # bytes that a few kilobytes unpack to here
BOMBS = {
    "npz": (npz_of(*((f"{name}.npy", npy(HUGE)) for name in FIELDS)), ".npz",
            (load_body, read_boxes, load_person, load_attention, read_spin, converted)),
    "torch": (npz_of(("a/data.pkl", tensor(storage(b"I%d\n" % (HUGE // 4)), PLAIN)),
                     ("a/data/0", bytes(HUGE))), ".pth", (load_torch, estimator)),
    "torch's pickle": (npz_of(("a/data.pkl", b"\x80\x02V" + b"a" * HUGE + b"\n.")), ".pth",
                       (load_torch,)),
    "joblib": (zlib.compress(joblib_bytes({"img_name": np.zeros(HUGE, np.uint8)})), ".pt",
               (read_joblib, read_database)),
    "one tensor, often": (npz_of(("a/data.pkl", b"\x80\x02(" + tensor(storage(b"I65536\n"),
                          b"K\x00(I65536\nt(K\x01t")[2:-1] * 400 + b"l."),
                          ("a/data/0", os.urandom(4 * 65536)), method=zipfile.ZIP_STORED), ".pth",
                          (load_torch,)),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_do_not_go_off(tmp_path, watched, monkeypatch, name):
    monkeypatch.setattr(bounds, "FREE", 1 << 20)
    data, ending, readers = BOMBS[name]
    path = tmp_path / "folder" / f"a{ending}"
    path.parent.mkdir()
    path.write_bytes(data)
    for read in readers:
        tracemalloc.start()
        try:
            message = refuse(read, path)
            assert tracemalloc.get_traced_memory()[1] < HUGE // 2
        finally:
            tracemalloc.stop()
    assert "size" in message or "plain arrays" in message


# --- Reaching other files -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../secret.npz", "/etc/passwd", "a/b", "..", "c:x", "", "a\0b"])
@pytest.mark.parametrize("place", ["people", "overlay", "exports"])
def test_results_name_files_of_their_own_folder_alone(tmp_path, watched, name, place):
    person = small_results.moving_person()
    content = small_results.contents([person])
    if place == "people":
        content["people"][0]["file"] = name
    else:
        content[place] = name if place == "overlay" else [name]
    if place == "overlay" and not name:
        return  # none
    out = tmp_path / "folder"
    out.mkdir()
    (out / "results.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="outside its folder"):
        load_results(out)


def test_descriptions_of_datasets_import_nothing(tmp_path, watched, monkeypatch):
    folder = fake_dataset.write_fake_dataset(tmp_path / "data", [2])
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'sentinel')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    path = Path(folder) / "features.json"
    features = json.loads(path.read_text())
    assert len(Records(folder, "train"))
    name = features["featuresDict"]["features"]["body"]
    legacy = {"type": "evil.Text", "content": {}}
    for hidden, refused in (
        (features | {"pythonClassName": "evil.FeaturesDict"}, None),  # read without that class
        ({"featuresDict": {"features": {"body": name | {"pythonClassName": "evil.Text"}}}}, "lack"),
        (legacy, "features.json cannot be read .* lacks 'featuresDict'"),
        (features | {"jsonFeature": {"json": json.dumps({"body": legacy})}}, None),
    ):
        path.write_text(json.dumps(hidden))
        with pytest.raises(UserError, match=refused) if refused else contextlib.nullcontext():
            assert Records(folder, "train")[1]["frame"] == 1
    assert "evil" not in sys.modules and not (tmp_path / "sentinel").exists()


def test_playlists_reach_neither_network_nor_other_files(tmp_path):
    """FFmpeg would open other files that a video refers to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        for content in (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{address}\n#EXT-X-ENDLIST\n",
            f"ffconcat version 1.0\nfile '{address}'\n",
            f'<?xml version="1.0"?><MPD><Period><BaseURL>{address}</BaseURL></Period></MPD>',
            "v=0\nm=video 5004 RTP/AVP 96\nc=IN IP4 127.0.0.1\na=rtpmap:96 H264/90000\n",
        ):
            path = tmp_path / "folder" / "a.mp4"
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
            refuse(open_video, path)
        with pytest.raises(TimeoutError):
            server.accept()


def test_laughs_of_xml(tmp_path, watched):
    """Entities that double thirty times are refused."""
    entities = "".join(f'<!ENTITY e{i} "&e{i - 1};&e{i - 1};">' for i in range(1, 30))
    path = tmp_path / "folder" / "metadata.xml"
    path.parent.mkdir()
    path.write_text(f'<!DOCTYPE a [<!ENTITY e0 "ha">{entities}]><a><w0>&e29;</w0></a>')
    refuse(read_metadata, path)
    path.write_text('<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a><w0>&e;</w0></a>')
    refuse(read_metadata, path)
    path.write_text('<?xml version="1.0" encoding="utf-1"?><a/>')  # not an encoding
    refuse(read_metadata, path)
