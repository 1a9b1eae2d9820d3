import collections
import importlib
import io
import pickle
import sys
import types

import numpy as np
import pytest
import scipy.sparse

from maed_jax.errors import UserError
from maed_jax.files import bounds, stand_ins, unpickle


def loads(data: bytes):
    resolve = stand_ins.PYTHON_GLOBALS | stand_ins.NUMPY_GLOBALS
    resolve |= stand_ins.SCIPY_GLOBALS | stand_ins.CHUMPY_GLOBALS
    return unpickle.restricted_loads(io.BytesIO(data), resolve, "model.pkl", kind="body file")


@pytest.fixture
def chumpy(monkeypatch):
    """Returns a function that makes chumpy objects, and a pickler, the only one to know them."""
    modules = {}
    for module, name in (
        ("chumpy.ch", "Ch"), ("chumpy.reordering", "Select"), ("chumpy.ch_ops", "add"),
    ):  # fmt: skip
        modules[module] = types.ModuleType(module)
        setattr(modules[module], name, type(name, (), {"__module__": module}))

    def make(module, name, **state):
        thing = getattr(modules[module], name)()
        thing.__dict__.update(state)
        return thing

    def dumps(content, protocol=2):
        with monkeypatch.context() as patch:
            for name, module in (modules | {"chumpy": types.ModuleType("chumpy")}).items():
                patch.setitem(sys.modules, name, module)
            return pickle.dumps(content, protocol)

    make.dumps = dumps
    return make


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_chumpy_arrays_are_read_without_chumpy(chumpy, protocol):
    values = np.arange(24.0).reshape(2, 3, 4)
    variable = chumpy("chumpy.ch", "Ch", x=values, _dirty_vars=())
    selected = chumpy("chumpy.reordering", "Select", a=variable, idxs=np.arange(0, 24, 2),
                      preferred_shape=(2, 3, 2))  # fmt: skip
    expression = chumpy("chumpy.ch_ops", "add", a=variable, b=variable)
    found = loads(chumpy.dumps({"x": variable, "s": selected, "e": expression}, protocol))
    np.testing.assert_array_equal(found["x"], values)
    np.testing.assert_array_equal(found["s"], values[..., ::2])
    assert isinstance(found["e"], stand_ins.ChumpyNode)
    assert found["e"].origin == "chumpy.ch_ops.add"
    with pytest.raises(ImportError):
        importlib.import_module("chumpy")


def test_selections_of_chumpy_count_as_the_copies_that_they_are(chumpy):
    """Each takes a few bytes of the file, but as much memory as what it selects from."""
    source, every = np.zeros(1 << 18), np.arange(1 << 18)
    many = [chumpy("chumpy.reordering", "Select", a=source, idxs=every) for _ in range(1000)]
    assert len(loads(chumpy.dumps(many[:10]))) == 10
    with pytest.raises(UserError, match="it unpacks to far more than its size"):
        loads(chumpy.dumps(many))


def test_sparse_matrices_count_as_the_copies_that_they_are(monkeypatch):
    """SciPy converts their indices to integers of another size."""
    monkeypatch.setattr(bounds, "FREE", 1 << 20)
    first = scipy.sparse.csc_matrix(np.ones((1, 1000)))
    first.indices, first.indptr = first.indices.astype(np.int64), first.indptr.astype(np.int64)
    many = [scipy.sparse.csc_matrix((1, 1000)) for _ in range(200)]
    for matrix in many:
        matrix.__dict__ = first.__dict__
    assert len(loads(pickle.dumps(many[:10]))) == 10
    with pytest.raises(UserError, match="it unpacks to far more than its size"):
        loads(pickle.dumps(many))


def test_sparse_matrices_of_older_scipy_are_read():
    """It had other names for modules and for the indices."""
    new = scipy.sparse.coo_matrix(([5.0], ([0], [2])), shape=(2, 3))
    old, state = scipy.sparse.coo_matrix((2, 3)), dict(vars(new))
    row, col = state.pop("coords")
    old.__dict__ = state | {"row": row, "col": col}
    data = pickle.dumps(old, 0)
    assert b"scipy.sparse._coo\n" in data
    found = loads(data.replace(b"scipy.sparse._coo\n", b"scipy.sparse.coo\n"))
    np.testing.assert_array_equal(found.toarray(), [[0, 0, 5], [0, 0, 0]])


def test_keys_are_names_numbers_and_flat_tuples_of_them():
    stand_ins.check_keys(["a", b"b", 1, 2.0, None, True, (1, "a"), stand_ins.StandIn()])
    for key in (((1,),), [1], 1 << 60, -1 << 60, 1j, frozenset()):
        with pytest.raises(pickle.UnpicklingError, match="keys are not names"):
            stand_ins.check_keys([key])


def test_ordered_dicts_are_made_of_plain_keys():
    assert stand_ins._ordered_dict([["a", 1]]) == collections.OrderedDict(a=1)
    with pytest.raises(UserError, match="keys are not names"):
        loads(b"ccollections\nOrderedDict\n((l(((I1\nttI1\nlatR.")


def test_ordered_dicts_count_as_the_copies_that_they_are(monkeypatch):
    """A dict entry takes far more memory than an item of the list that it is made from."""
    monkeypatch.setattr(bounds, "FREE", 1 << 20)
    items = b"](" + b"".join(b"M" + i.to_bytes(2, "little") + b"N\x86" for i in range(1000)) + b"e"
    start = b"\x80\x04ccollections\nOrderedDict\n\x94" + items + b"\x85\x94("
    assert len(loads(start + b"h\x00h\x01R" * 5 + b"l.")) == 5
    with pytest.raises(UserError, match="it unpacks to far more than its size"):
        loads(start + b"h\x00h\x01R" * 100 + b"l.")
