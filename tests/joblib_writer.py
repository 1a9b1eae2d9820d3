"""Writes files in the format of joblib.dump, without joblib."""

import io
import pickle
import sys
import types

import numpy as np


class NumpyArrayWrapper:
    """Pickled under the name of joblib's class."""


class _Pickler(pickle._Pickler):
    """Writes the bytes of each array directly after its wrapper."""

    def __init__(self, file, protocol, aligned):
        super().__init__(file, protocol)
        self.file, self.aligned = file, aligned

    def save(self, obj, *args):
        if type(obj) is not np.ndarray:
            return super().save(obj, *args)
        wrapper = NumpyArrayWrapper()
        fortran = obj.flags.f_contiguous and not obj.flags.c_contiguous
        wrapper.__dict__.update(
            subclass=np.ndarray, shape=obj.shape, order="F" if fortran else "C", dtype=obj.dtype,
            allow_mmap=not obj.dtype.hasobject,
        )  # fmt: skip
        if self.aligned:
            wrapper.numpy_array_alignment_bytes = 16
        super().save(wrapper)
        if self.proto >= 4:
            self.framer.commit_frame(force=True)
        if obj.dtype.hasobject:
            pickle.dump(obj, self.file, protocol=2)
            return None
        if self.aligned:
            padding = 16 - (self.file.tell() + 1) % 16
            self.file.write(bytes([padding]) + b"\xff" * padding)
        self.file.write(obj.tobytes("F" if fortran else "C"))


def joblib_bytes(content, protocol=3, aligned=False) -> bytes:
    """Returns what joblib.dump would write: since version 1.2 if `aligned`, otherwise before."""
    modules = {name: types.ModuleType(name) for name in ("joblib", "joblib.numpy_pickle")}
    modules["joblib.numpy_pickle"].NumpyArrayWrapper = NumpyArrayWrapper
    NumpyArrayWrapper.__module__ = "joblib.numpy_pickle"
    before = {name: sys.modules.pop(name, None) for name in modules}
    sys.modules.update(modules)
    file = io.BytesIO()
    try:
        _Pickler(file, protocol, aligned).dump(content)
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module
    return file.getvalue()
