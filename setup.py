"""Installs `maed_jax` and nothing else at the top level.

`configs/` and `datasets/` stand at the top of the repository, where people look for them, and are
installed inside the package as `maed_jax.configs` and `maed_jax.datasets`: a wheel can then train
and prepare data by name, and no one's own `datasets` is shadowed.
"""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
MAPPED = ("configs", "datasets")
DATA = ["h5py>=3.11"]  # MATLAB v7.3 files of datasets
ONNX = ["onnxruntime>=1.17"]
VIZ = ["pyvista>=0.46", "matplotlib>=3.8"]

setup(
    name="maed_jax",
    version="0.1.0",
    description="MAED in JAX: 3D human shape and pose from video",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["maed_jax", "maed_jax.*"])
    + [
        f"maed_jax.{name}"
        for top in MAPPED
        for name in [top, *(f"{top}.{sub}" for sub in find_packages(str(ROOT / top)))]
    ],
    package_data={"maed_jax": ["py.typed"], "maed_jax.visual": ["page/*"]},  # the viewer's
    package_dir={f"maed_jax.{name}": name for name in MAPPED},
    install_requires=[
        "jax>=0.10,<0.12",
        "flatbuffers",  # jax.export imports it without asking for it
        "flax>=0.12.7,<0.13",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12,<0.13",
        "grain>=0.2.18",
        "tensorflow-datasets>=4.9.10",
        "array-record>=0.8",
        "protobuf>=4.22",
        "importlib_resources",  # tensorflow-datasets imports it without asking for it
        "ml-collections>=1.1",
        "chex>=0.1.91",
        "einops>=0.8",
        "numpy>=2",
        "scipy>=1.13",
        "opencv-python-headless>=4.11,<5",  # 5 has no HOG person detector
        "av>=14",
        "tensorboardX>=2.6",
        "tqdm>=4.66",
    ],
    extras_require={
        "cuda": ["jax[cuda13]"],
        "tpu": ["jax[tpu]"],
        "data": DATA,
        "onnx": ONNX,
        "viz": VIZ,
        "test": [
            *("pytest>=8", "pytest-xdist>=3", "hypothesis>=6", "ruff>=0.12", "cdflib>=1.3"),
            *DATA,
            *ONNX,
            *VIZ,
        ],
    },
    entry_points={"console_scripts": ["maed = maed_jax.cli:main"]},
)
