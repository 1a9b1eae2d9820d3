import collections
import importlib
import io
import os
import pickle
import pickletools
import subprocess
import sys
import types

import numpy as np
import pytest
import scipy.sparse

from maed_jax.body import unpickle
from maed_jax.errors import UserError

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


def loads(data: bytes, allowed=None):
    tables = (unpickle.PYTHON_GLOBALS, unpickle.NUMPY_GLOBALS, unpickle.SCIPY_GLOBALS,
              unpickle.CHUMPY_GLOBALS, allowed or {})  # fmt: skip
    resolve = {name: found for table in tables for name, found in table.items()}
    return unpickle.restricted_loads(io.BytesIO(data), resolve, "model.pkl", kind="body file")


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
        elif key == "objects":  # a list of inert things, never an array of objects
            assert isinstance(value, list) and value[0] == {"a": 1}
            np.testing.assert_array_equal(value[1], np.ones(2))
        elif key == "ordered":
            np.testing.assert_array_equal(value["a"], np.ones(2))
        elif isinstance(expected, np.ndarray):
            assert type(value) is np.ndarray and value.dtype == expected.dtype
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


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_chumpy_arrays_are_read_without_chumpy(monkeypatch, protocol):
    values = np.arange(24.0).reshape(2, 3, 4)
    modules = {}
    for module, name in (
        ("chumpy.ch", "Ch"), ("chumpy.reordering", "Select"), ("chumpy.ch_ops", "add"),
    ):  # fmt: skip
        modules[module] = types.ModuleType(module)
        setattr(modules[module], name, type(name, (), {"__module__": module}))
        monkeypatch.setitem(sys.modules, module, modules[module])
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))

    def make(module, name, **state):
        thing = getattr(modules[module], name)()
        thing.__dict__.update(state)
        return thing

    variable = make("chumpy.ch", "Ch", x=values, _dirty_vars=())
    selected = make("chumpy.reordering", "Select", a=variable, idxs=np.arange(0, 24, 2),
                    preferred_shape=(2, 3, 2))  # fmt: skip
    expression = make("chumpy.ch_ops", "add", a=variable, b=variable)
    data = pickle.dumps({"x": variable, "s": selected, "e": expression}, protocol)
    for module in ("chumpy", *modules):
        monkeypatch.delitem(sys.modules, module)

    found = loads(data)
    np.testing.assert_array_equal(found["x"], values)
    np.testing.assert_array_equal(found["s"], values[..., ::2])
    assert isinstance(found["e"], unpickle.ChumpyNode)
    assert found["e"].origin == "chumpy.ch_ops.add"
    with pytest.raises(ImportError):
        importlib.import_module("chumpy")


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def global_call(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls `module.name(argument)`, whether or not there is such a thing."""
    return f"c{module}\n{name}\n(V{argument}\ntR.".encode()


def hostile(sentinel):
    """Pickles that would leave a file at `sentinel` if anything in them ran."""
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
    # An array of objects made from raw bytes would turn those bytes into pointers.
    "objects from bytes": ARRAY + b"(I1\n(I1\nt" + DTYPE % b"O8" + b"I00\nVAAAAAAAA\ntb.",
    "records": ARRAY + b"(I1\n(I1\nt" + DTYPE % b"V8" + b"I00\nVAAAAAAAA\ntb.",
    "records by state": ARRAY + b"(I1\n(I1\nt" + DTYPE % b"f8"
    + b"(I3\nV<\nN(Va\ntNI-1\nI-1\nI63\ntbI00\nVAAAAAAAA\ntb.",
    "flags of a type": ARRAY + b"(I1\n(I1\nt" + DTYPE % b"O8"
    + b"(I3\nV|\nNNNI8\nI8\nI0\ntbI00\nVAAAAAAAA\ntb.",
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
    before = dict(vars(unpickle._DType)), dict(vars(unpickle._encode))
    with pytest.raises(UserError, match="^model.pkl cannot be read as a body file: ") as caught:
        loads(TRICKS[name])
    assert "\n" not in str(caught.value)
    assert before == (dict(vars(unpickle._DType)), dict(vars(unpickle._encode)))


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


def test_things_that_hold_themselves_and_each_other():
    looped = [np.ones(2)]
    looped.append(looped)
    found = loads(pickle.dumps(looped))
    assert found[1] is found
    np.testing.assert_array_equal(found[0], np.ones(2))
    bomb: tuple = (np.ones(1),)
    for _ in range(60):  # 2 ** 60 arrays, if each were visited
        bomb = (bomb, bomb)
    assert len(loads(pickle.dumps(bomb))) == 2


def test_a_reader_can_list_more(tmp_path):
    """As a reader of PyTorch's files does: its own stand-ins, and references to things outside."""
    path = tmp_path / "more.pkl"
    path.write_bytes(pickle.dumps({"x": Call(os.getcwd)}))
    module, name = next(
        arg.split() for opcode, arg, _ in pickletools.genops(pickle.dumps(os.getcwd, 0))
        if opcode.name == "GLOBAL"
    )  # fmt: skip
    assert unpickle.restricted_load(path, {(module, name): lambda: "listed"}) == {"x": "listed"}

    file = io.BytesIO(b"Pkey\n.Pother\n.")
    for key in ("key", "other"):  # pickles one after another
        assert unpickle.restricted_loads(file, {}, "x.pt", lambda pid: (pid, 1)) == (key, 1)
    with pytest.raises(UserError, match="which a checkpoint never needs"):
        unpickle.restricted_loads(io.BytesIO(path.read_bytes()), {}, "x.pt", kind="checkpoint")


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="cannot be opened: No such file"):
        unpickle.restricted_load(tmp_path / "none.pkl")
