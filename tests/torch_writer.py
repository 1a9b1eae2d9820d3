"""Writes checkpoints in the format of torch.save, without PyTorch."""

import io
import pickle
import sys
import types
import zipfile

import numpy as np


class FloatStorage:
    """Pickled under the name of PyTorch's class."""


def _rebuild_tensor_v2(*parts):
    """Pickled under the name of PyTorch's function; never called."""


class _Tensor:
    def __init__(self, key, array):
        self.key, self.array = key, array

    def __reduce__(self):
        strides = tuple(s // 4 for s in self.array.strides)
        return _rebuild_tensor_v2, (self, 0, self.array.shape, strides, False, {})


class _Pickler(pickle.Pickler):
    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.seen = set()

    def persistent_id(self, value):
        if isinstance(value, _Tensor):
            if value.key in self.seen:  # within its own arguments: the storage
                return ("storage", FloatStorage, value.key, "cpu", value.array.size)
            self.seen.add(value.key)
        return None


def write_torch(path, content):
    """Writes `content`, dicts of float32 arrays, to a zip checkpoint."""
    arrays = []

    def tensors(value):
        if isinstance(value, dict):
            return {key: tensors(v) for key, v in value.items()}
        if not isinstance(value, np.ndarray):
            return value
        arrays.append(np.ascontiguousarray(value, np.float32).reshape(value.shape))
        return _Tensor(str(len(arrays) - 1), arrays[-1])

    content = tensors(content)
    modules = {name: types.ModuleType(name) for name in ("torch", "torch._utils")}
    modules["torch"].FloatStorage = FloatStorage
    modules["torch._utils"]._rebuild_tensor_v2 = _rebuild_tensor_v2
    FloatStorage.__module__, _rebuild_tensor_v2.__module__ = modules
    file = io.BytesIO()
    before = {name: sys.modules.pop(name, None) for name in modules}
    sys.modules.update(modules)
    try:
        _Pickler(file).dump(content)
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", file.getvalue())
        for key, array in enumerate(arrays):
            archive.writestr(f"archive/data/{key}", array.tobytes())
