"""Small valid files to damage: each function writes some files, or returns them in parts."""

from __future__ import annotations

import collections
import dataclasses
import json
import pickle
from pathlib import Path

import ablation_results
import h5py
import numpy as np
import python2
import raw_h36m
import raw_pennaction
import raw_posetrack
import raw_stills
import scipy.io
import scipy.sparse
import small_results
from torch_writer import write_torch

from maed_jax.body import skeleton
from maed_jax.datasets.mannequins import motion
from maed_jax.inference import people, results
from maed_jax.inference.unfinished import Work
from maed_jax.runs.checkpoints import write_config
from maed_jax.runs.config import load_config


def body_arrays() -> dict:
    """Returns SMPL's arrays for a body with eight vertices, in the types of its owner's pickles."""
    rng, verts = np.random.default_rng(0), 8
    parents = np.array([2**32 - 1, *skeleton.PARENTS[1:]])
    return {
        "v_template": rng.normal(size=(verts, 3)), "f": np.arange(6).reshape(2, 3).astype("u4"),
        "shapedirs": np.ones((verts, 3, 10), np.float16),
        "posedirs": np.zeros((verts, 3, 207), np.float16), "weights": np.full((verts, 24), 1 / 24),
        "J_regressor": scipy.sparse.csc_matrix(np.eye(24, verts)),
        "kintree_table": np.stack([parents, np.arange(24)]).astype("u4"), "bs_type": "lrotmin",
        "note": collections.OrderedDict(a=np.array(["x", {1: "y"}], object)),
    }  # fmt: skip


def body_npz(folder: Path) -> None:
    arrays = body_arrays()
    del arrays["note"]
    arrays["J_regressor"] = arrays["J_regressor"].toarray()
    np.savez(folder / "body.npz", **arrays)


def body_pickles(folder: Path) -> list[list[bytes]]:
    old = {key: value for key, value in body_arrays().items() if key != "note"}
    python2.dump(old | {"J_regressor": np.eye(24, 8)}, folder / "old.pkl")
    new = [pickle.dumps(body_arrays(), protocol) for protocol in (0, 2, 4, 5)]
    return [[data] for data in (*new, (folder / "old.pkl").read_bytes())]


def checkpoint(folder: Path) -> None:
    arrays = {"module.a": np.ones((3, 2)), "module.b": np.ones(4)}
    write_torch(folder / "a.pth", {"epoch": 3, "state_dict": arrays, "args": ("x", 1.5, None)})


def legacy_checkpoint(folder: Path) -> list[list[bytes]]:
    golden = Path(__file__).parent / "golden" / "checkpoint_legacy.pth.tar"
    return [[golden.read_bytes()]]


def safetensors(folder: Path) -> list[list[bytes]]:
    header = json.dumps({
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "I64", "shape": [2], "data_offsets": [24, 40]},
    }).encode()  # fmt: skip
    return [[len(header).to_bytes(8, "little") + header + bytes(40)]]


def database() -> dict:
    rng, n = np.random.default_rng(0), 3
    return {
        "img_name": np.array(["a/0.jpg", "a/1.jpg", "b/0.jpg"]),
        "vid_name": np.array(["a", "a", "b"], object), "joints2D": rng.random((n, 49, 3)),
        "joints3D": np.ones((n, 49, 4), np.float32), "bbox": np.ones((n, 4)),
        "pose": np.ones((n, 72)), "shape": np.ones((n, 10)), "valid": np.ones(n, bool),
    }  # fmt: skip


def walking(frames: int = 2):
    made = motion.make("walking", np.random.default_rng(5), frames, fps=60)
    made.rotations[:, 22:] = np.eye(3)
    return made.rotations, np.ones((frames, 3))


def bvh(folder: Path) -> None:
    import test_mocap  # starts JAX, which must not run before `scripts/fuzz.py` forks

    test_mocap.write_bvh(folder / "w.bvh", *walking())


def acclaim(folder: Path) -> None:
    import test_mocap  # as above

    test_mocap.write_acclaim(folder, *walking())


def person(n: int = 4):
    return small_results.moving_person(1, range(n))


def results_folder(folder: Path) -> list[list[bytes]]:
    found = [person(), small_results.moving_person(2, range(2, 4))]
    for each in found:
        results.save_person(folder / results.file_name(each), each)
    facts = {"path": "walk.mp4", "width": 160, "height": 120, "fps": 10, "frames": 4,
             "announced_frames": 4, "damaged_frames": [1]}  # fmt: skip
    content = results.summary(
        found, video=facts, model={"checkpoint": "work", "body": "mannequin", "maed_jax": "0.1"},
        boxes={"detector": "hog"}, smoothed=True, one_shape=False, overlay="overlay.mp4",
        attention=["attention_1.npz"], exports=["person_1.glb", "people.glb"],
    )  # fmt: skip
    return [[json.dumps(content).encode()]]


def found_people(folder: Path) -> None:
    track = people.Track(1, np.arange(3), np.ones((3, 4), np.float32), np.ones(3, bool),
                         np.ones(3, np.float32))  # fmt: skip
    found = people.Found([track, dataclasses.replace(track, id=2)], 3, [1])
    Work(folder).save("found", **people._pack(found))


def study(folder: Path) -> list[list[bytes]]:
    write_config(folder, load_config("ablation"))
    (folder / "mean_pose.json").write_text(json.dumps(ablation_results.mean_pose()))
    run = folder / "ste-ktd" / "0"
    run.mkdir(parents=True)
    (run / "result.json").write_text(json.dumps(ablation_results.result("ste-ktd", 0)))
    rows = ("ste-ktd", "cnn-ktd")
    return [[json.dumps(ablation_results.result(row, 0)).encode()] for row in rows]


def coco(folder: Path) -> None:
    raw_stills.write_coco(folder)


def posetrack(folder: Path) -> list[list[bytes]]:
    content = raw_posetrack.video(folder, "train", "000001_bonn_train", 2)
    return [[json.dumps(content).encode()]]


def penn(folder: Path) -> None:
    raw_pennaction.write_labels(folder / "labels" / "0001.mat", np.ones((2, 13, 2)))


def penn_plain_and_compressed(folder: Path) -> list[list[bytes]]:
    penn(folder)
    content = {k: v for k, v in scipy.io.loadmat(folder / "labels/0001.mat").items() if k[0] != "_"}
    scipy.io.savemat(folder / "packed.mat", content, do_compression=True)
    names = ("labels/0001.mat", "packed.mat")
    return [[(folder / name).read_bytes()] for name in names]


def mpii_release(folder: Path) -> list[list[bytes]]:
    joints = raw_stills.person()
    rows = [{"image": {"name": "1.jpg"}, "annorect": [raw_stills.mpii_rect(joints)]}]
    raw_stills.write_release(folder, rows, [1])
    (found,) = folder.rglob("*.mat")
    return [[found.read_bytes()]]


def newell(folder: Path) -> None:
    raw_stills.write_newell(folder / "t.h5", [("1.jpg", raw_stills.person())])


def mpi_annotations(folder: Path) -> None:
    """Writes cells as in version 7.3: an array of references, with axes reversed."""
    with h5py.File(folder / "annot.mat", "w", userblock_size=512) as file:
        for name, columns in (("annot2", 56), ("annot3", 84)):
            cells = np.empty((1, 3), h5py.ref_dtype)
            for camera in range(3):
                numbers = file.create_dataset(f"#refs#/{name}{camera}", data=np.ones((columns, 2)))
                cells[0, camera] = numbers.ref
            file[name] = cells
            file[name].attrs["MATLAB_class"] = np.bytes_("cell")


def masks(folder: Path) -> None:
    raw_h36m.write_masks(folder / "m.mat", np.array([[2, 3, 6, 7], [1, 1, 4, 4]]), (10, 12))


def sequence(folder: Path) -> None:
    n = 3
    content = {
        "sequence": "walk_00", "cam_poses": np.tile(np.eye(4), (n, 1, 1)), "genders": ["m"],
        "cam_intrinsics": np.eye(3), "poses": [np.zeros((n, 72))], "trans": [np.zeros((n, 3))],
        "betas": [np.zeros(10)], "poses2d": [np.ones((n, 3, 18))],
        "campose_valid": [np.ones(n, int)], "texture_maps": [], "jointPositions": [1, "a", None],
    }  # fmt: skip
    python2.dump(content, folder / "w.pkl")


def spin(folder: Path) -> None:
    np.savez(
        folder / "s.npz", imgname=np.array(["a.jpg", "b.jpg"]), pose=np.ones((2, 72)),
        shape=np.ones((2, 10)), has_smpl=np.ones(2), center=np.ones((2, 2)), scale=np.ones(2),
        part=np.ones((2, 24, 3)), S=np.ones((2, 24, 4)),
    )  # fmt: skip
