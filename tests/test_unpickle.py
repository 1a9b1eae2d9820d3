import collections
import importlib
import io
import os
import pickle
import pickletools
import subprocess
import tracemalloc
from typing import BinaryIO

import numpy as np
import pytest
import scipy.sparse

from maed_jax.errors import UserError
from maed_jax.files import bounds, stand_ins, unpickle

HARMLESS = {
    "float": np.arange(3.0),
    "big endian": np.arange(3, dtype=">f4"),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "empty": np.zeros((0, 3)),
    "single": np.array(3.0),
    "bool": np.array([True, False]),
    "text": np.array(["ab", "c"]),
    "scalar": np.float64(2.5),
    "csc": scipy.sparse.csc_matrix(np.diag([1.0, 2.0, 0.0])),
    "csr": scipy.sparse.csr_array(np.diag([1.0, 2.0])),
    "coo": scipy.sparse.coo_array(np.eye(2)),
    "plain": (1, [2.0, "three", None, {4: b"five"}], True),
    "ordered": collections.OrderedDict(b=1, a=np.ones(2)),
    "objects": np.array([{"a": 1}, np.ones(2)], object),
}


def loads(data: bytes | BinaryIO, allowed=None):
    tables = (stand_ins.PYTHON_GLOBALS, stand_ins.NUMPY_GLOBALS, stand_ins.SCIPY_GLOBALS,
              stand_ins.CHUMPY_GLOBALS, allowed or {})  # fmt: skip
    resolve = {name: found for table in tables for name, found in table.items()}
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    return unpickle.restricted_loads(file, resolve, "model.pkl", kind="body file")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_body_files_hold_is_read(tmp_path, protocol):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(HARMLESS, protocol))
    found = unpickle.restricted_load(path)
    assert list(found) == list(HARMLESS)
    for key, expected in HARMLESS.items():
        value = found[key]
        if scipy.sparse.issparse(expected):
            np.testing.assert_array_equal(value.toarray(), expected.toarray())
        elif key == "objects":  # a list of inert values, never an array of objects
            assert isinstance(value, list) and value[0] == {"a": 1}
            np.testing.assert_array_equal(value[1], np.ones(2))
        elif key == "ordered":
            np.testing.assert_array_equal(value["a"], np.ones(2))
        elif isinstance(expected, np.ndarray):
            assert type(value) is np.ndarray and value.dtype == expected.dtype
            assert value.flags.writeable
            np.testing.assert_array_equal(value, expected)
        else:
            assert value == expected and type(value) is type(expected)


def test_the_older_spelling_of_numpy_and_the_bytes_of_python_2():
    text = "\x00\x00\x80?\x00\x00\x00\xc0"  # two float32 as Latin-1 text, as Python 2 wrote them
    stream = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08"
        + text.encode("latin1")
        + b"tb."
    )
    np.testing.assert_array_equal(loads(stream), np.array([1, -2], np.float32))
    assert loads(b"U\x02a\xe9.") == "a\u00e9"


class Call:
    """An object whose pickle calls `function`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def global_call(module: str, name: str, argument: str) -> bytes:
    """Returns a pickle that calls `module.name(argument)`, whether or not that exists."""
    return f"c{module}\n{name}\n(V{argument}\ntR.".encode()


def hostile(sentinel):
    """Pickles that would create the file `sentinel` if anything in them were executed."""
    touch = f"touch {sentinel}"
    code = f"open({str(sentinel)!r}, 'w')"
    yield "os.system", pickle.dumps(Call(os.system, touch))
    yield "subprocess", pickle.dumps(Call(subprocess.check_call, ["touch", str(sentinel)]))
    yield "eval", pickle.dumps(Call(eval, code))
    yield "exec", pickle.dumps({"v_template": Call(exec, code)}, 0)
    yield "import", pickle.dumps([Call(importlib.import_module, "os")])
    yield "__import__", pickle.dumps(Call(__import__, "os"), 2)
    yield "open", pickle.dumps(Call(open, str(sentinel), "w"))
    yield "getattr", pickle.dumps(Call(getattr, np.dtype, "__subclasses__"))
    yield "Python 2 eval", global_call("__builtin__", "eval", code)
    yield "dotted name", b"\x80\x04\x8c\x05numpy\x94\x8c\x14ndarray.tofile.thing\x94\x93."
    yield "name of two lines", b"\x80\x04\x8c\x05numpy\x8c\x04lo\nd\x93."
    yield "dotted module of the list", global_call("numpy", "dtype.__class__", "x")
    yield "numpy.load", global_call("numpy", "load", str(sentinel))
    yield "numpy.save", pickle.dumps(Call(np.save, str(sentinel), np.ones(1)))
    yield "numpy.f2py", global_call("numpy.f2py", "compile", code)
    yield "numpy.memmap", pickle.dumps(Call(np.memmap, str(sentinel), "u1", "w+", 0, (1,)))
    yield "numpy.fromfile", global_call("numpy", "fromfile", str(sentinel))
    yield "numpy testing", global_call("numpy.testing._private.utils", "runstring", code)
    yield "scipy.io", global_call("scipy.io", "loadmat", str(sentinel))
    yield "scipy helper", global_call("scipy.sparse._csc", "os", touch)
    yield "chumpy's neighbour", global_call("chumpyx.ch", "Ch", touch)
    yield "instance opcode", f"(V{touch}\nios\nsystem\n.".encode()
    yield "object opcode", f"(cos\nsystem\nV{touch}\no.".encode()
    yield "functools", global_call("functools", "partial", "x")
    yield "operator", global_call("operator", "attrgetter", "system")
    yield "codecs", global_call("codecs", "open", str(sentinel))
    yield "lambda types", global_call("types", "FunctionType", "x")
    yield "joblib", global_call("joblib.numpy_pickle", "NumpyArrayWrapper", "x")


HOSTILE_NAMES = [name for name, _ in hostile("x")]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_pickles_are_refused_and_nothing_runs(tmp_path, name):
    sentinel = tmp_path / "sentinel"
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(dict(hostile(sentinel))[name])
    with pytest.raises(UserError) as caught:
        unpickle.restricted_load(path)
    message = str(caught.value)
    assert message.startswith(f"{path} asks to construct ") and "\n" not in message
    assert message.endswith("which a body file never needs; it was not opened")
    assert not sentinel.exists()


def test_the_sentinel_would_appear_if_a_pickle_ran(tmp_path):
    sentinel = tmp_path / "sentinel"
    pickle.loads(dict(hostile(sentinel))["os.system"])
    assert sentinel.exists()


ARRAY = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"
DTYPE = b"cnumpy\ndtype\n(V%s\nI00\nI01\ntR"

TRICKS = {
    # An array of objects made from raw bytes would treat these as pointers.
    "objects from bytes": ARRAY + b"(I1\n(I1\nt" + DTYPE % b"O8" + b"I00\nVAAAAAAAA\ntb.",
    "records": ARRAY + b"(I1\n(I1\nt" + DTYPE % b"V8" + b"I00\nVAAAAAAAA\ntb.",
    "records by state": ARRAY + b"(I1\n(I1\nt" + DTYPE % b"f8"
    + b"(I3\nV<\nN(Va\ntNI-1\nI-1\nI63\ntbI00\nVAAAAAAAA\ntb.",
    "flags of a type": ARRAY + b"(I1\n(I1\nt" + DTYPE % b"O8"
    + b"(I3\nV|\nNNNI8\nI8\nI0\ntbI00\nVAAAAAAAA\ntb.",
    "records by expression": ARRAY + b"(I1\n(I1\nt" + DTYPE % b"f4,f4" + b"I00\nVAAAAAAAA\ntb.",
    "type by expression": ARRAY + b"(I1\n(I1\nt" + DTYPE % b"f8,O" + b"I00\nVAAAAAAAA\ntb.",
    "larger than its bytes": ARRAY + b"(I1\n(I1000000000000\nt" + DTYPE % b"f8"
    + b"I00\nVAAAAAAAA\ntb.",
    "state of a class": b"cnumpy\nndarray\n(dVvalue\nI1\nsb.",
    "state of a function": b"c_codecs\nencode\n(dVx\nI1\nsb.",
    "attributes of a class": b"cnumpy\ndtype\n(N(dVvalue\nc_codecs\nencode\nstb.",
    "another encoding": b"c_codecs\nencode\n(Vabc\nVzlib_codec\ntR.",
    "another class's object": b"ccopyreg\n_reconstructor\n(ccollections\nOrderedDict\n"
    b"c__builtin__\nobject\nNtR.",
    "things outside": b"Panother\n.",
    "class by number": b"\x80\x02\x82\x01.",
    "sparse outside its shape": pickle.dumps(scipy.sparse.csc_matrix(np.eye(3)), 0).replace(
        b"I3\nI3\n", b"I1\nI3\n"
    ),
    "cut short": pickle.dumps(HARMLESS)[:-20],
    "empty": b"",
    "text": b"this is not a pickle",
}  # fmt: skip


@pytest.mark.parametrize("name", TRICKS)
def test_tricks_with_listed_names_come_to_nothing(name):
    before = dict(vars(stand_ins._DType)), dict(vars(stand_ins._encode))
    with pytest.raises(UserError, match="^model.pkl cannot be read as a body file: ") as caught:
        loads(TRICKS[name])
    assert "\n" not in str(caught.value)
    assert before == (dict(vars(stand_ins._DType)), dict(vars(stand_ins._encode)))


def test_random_damage_never_gets_further_than_a_user_error():
    data = pickle.dumps(HARMLESS, 2)
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            damaged[place] = rng.integers(256)
        try:
            loads(bytes(damaged))
        except UserError:
            pass


def test_things_that_are_shared_stay_shared_and_dicts_may_hold_themselves():
    array = np.ones(2)
    looped = {"array": array, "list": [array, array], "tuple": (array,)}
    looped["self"] = looped
    found = loads(pickle.dumps(looped))
    assert found["self"] is found
    assert found["list"][0] is found["list"][1] is found["tuple"][0] is found["array"]
    np.testing.assert_array_equal(found["array"], np.ones(2))


def frame(code: bytes, size: int, rest: bytes = b"") -> bytes:
    return b"\x80\x05" + code + size.to_bytes(8, "little") + rest + b"."


def nested(times: int, inner: bytes = b")") -> bytes:
    return b"\x80\x02" + inner + b"\x85" * times


LIST = b"\x80\x04]\x94"
TEXT = b"X\x00\x00\x10\x00" + b"a" * (1 << 20)
# An array's version, shape, dtype, order and bytes.
STATE = [b"K\x01", b"(J\x00\x00\x10\x00t", DTYPE % b"u1", b"K\x00", TEXT]


def arrays_of(state: bytes, times: int = 1000) -> bytes:
    """Arrays that all get the same state, which the pickle contains once."""
    empty = b"cnumpy._core.multiarray\n_reconstruct\n\x94(cnumpy\nndarray\n(K\x00tVb\nt\x94"
    return b"\x80\x04" + empty + state + b"\x94(" + b"h\x00h\x01Rh\x02b" * times + b"l."


COLLIDING = b"".join(
    b"\x8a\x0c" + (i * (2**61 - 1)).to_bytes(12, "little") + b"N" for i in range(1, 50)
)

BOMBS = {
    "bytes that are not there": frame(pickle.BINBYTES8, 1 << 45),
    "a gigabyte that is not there": frame(pickle.BINBYTES8, 1 << 30),
    "text that is not there": frame(pickle.BINUNICODE8, 1 << 45),
    "a bytearray that is not there": frame(pickle.BYTEARRAY8, 1 << 36),
    "a frame that is not there": frame(pickle.FRAME, 1 << 45),
    "tuples without end": nested(100_000) + b".",
    "tuples without end as a key": b"\x80\x02}" + nested(100_000)[2:] + b"Ns.",
    "tuples without end in a set": b"\x80\x04\x8f(" + nested(100_000)[2:] + b"\x90.",
    "tuples without end in a frozenset": b"\x80\x04(" + nested(100_000)[2:] + b"\x91.",
    "keys that collide": b"\x80\x02}(" + COLLIDING + b"u.",
    "keys that collide, by DICT": b"\x80\x02(" + COLLIDING + b"d.",
    "a list in itself": LIST + b"h\x00a.",
    "lists that double": LIST + b"K\x01a" + b"".join(
        b"]\x94(" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(60)) + b".",
    "lists of one large text": LIST + b"(\x8c\xff" + b"a" * 255 + b"K\x01" * 20_000 + b"e\x94"
    + b"(" + b"h\x01" * 2000 + b"l.",
    "a list of one large array": pickle.dumps([np.zeros(1 << 20, np.uint8)] * 2000),
    "one text copied often": b"\x80\x04c_codecs\nencode\n\x94" + TEXT
    + b"\x85\x94(" + b"h\x00h\x01R" * 2000 + b"l.",
    "one text copied often, by OBJ": b"\x80\x04c_codecs\nencode\n\x94" + TEXT
    + b"\x94(" + b"(h\x00h\x01o" * 2000 + b"l.",
    "one text copied often, by INST": b"\x80\x04" + TEXT
    + b"\x94(" + b"(h\x00i_codecs\nencode\n" * 2000 + b"l.",
    "arrays of one state": arrays_of(b"(" + b"".join(STATE) + b"t"),
    "arrays of one state, a list": arrays_of(b"(" + b"".join(STATE) + b"l"),
    "arrays of one state, names of a dict": arrays_of(b"(" + b"N".join(STATE) + b"Nd"),
    "a number of bytes": ARRAY + b"(I1\n(I900000000\nt" + DTYPE % b"u1" + b"I00\nI900000000\ntb.",
    "classes without number": b"(" + b"".join(b"cchumpy\nA%d\n" % i for i in range(2000)) + b"l.",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_small_pickles_never_take_much_memory_or_time(tmp_path, name):
    (tmp_path / "a").write_bytes(BOMBS[name])
    tracemalloc.start()
    try:
        refused = pytest.raises(UserError, match="^model.pkl cannot be read as a body file: ")
        with (tmp_path / "a").open("rb") as file, refused as caught:
            loads(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert peak < 600e6


@pytest.mark.parametrize("protocol", [0, 2])
def test_large_pickles_may_hold_as_much(monkeypatch, protocol):
    monkeypatch.setattr(bounds, "FREE", 1000)
    arrays = [np.arange(5000.0) + i for i in range(3)]
    np.testing.assert_array_equal(loads(pickle.dumps(arrays, protocol)), arrays)


def test_instructions_are_counted(monkeypatch):
    monkeypatch.setattr(unpickle._Counted, "left", 100)
    assert loads(pickle.dumps(list(range(20)))) == list(range(20))
    with pytest.raises(UserError, match="far more instructions"):
        loads(b"(" + b"]" * 200 + b"l.")


def test_a_reader_can_list_more(tmp_path):
    """Like a reader of PyTorch's files: its own stand-ins, and references to outside objects."""
    data = pickle.dumps({"x": Call(os.getcwd)})
    module, name = next(
        arg.split() for opcode, arg, _ in pickletools.genops(pickle.dumps(os.getcwd, 0))
        if opcode.name == "GLOBAL"
    )  # fmt: skip
    listed = {(module, name): lambda: "listed"}
    assert unpickle.restricted_loads(io.BytesIO(data), listed, "x.pt") == {"x": "listed"}

    file = io.BytesIO(b"Pkey\n.Pother\n.")
    for key in ("key", "other"):  # consecutive pickles
        assert unpickle.restricted_loads(file, {}, "x.pt", lambda pid: (pid, 1)) == (key, 1)
    with pytest.raises(UserError, match="which a checkpoint never needs"):
        unpickle.restricted_loads(io.BytesIO(data), {}, "x.pt", kind="checkpoint")


def test_what_is_no_pickle_is_said_to_be_none():
    with pytest.raises(UserError, match="it is damaged, or not a pickle"):
        loads(b"text")


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="cannot be opened: no such file"):
        unpickle.restricted_load(tmp_path / "none.pkl")
