"""The readers of untrusted files, and small valid files for each."""

from __future__ import annotations

import collections
import io
import json
import pickle
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import raw_dots
import raw_h36m
import raw_instavariety
import raw_mpi_inf_3dhp
import raw_stills
import scipy.io
import scipy.sparse
import small_results
import test_compare
from fuzz_samples import (
    acclaim,
    body_npz,
    body_pickles,
    bvh,
    checkpoint,
    coco,
    database,
    found_people,
    legacy_checkpoint,
    masks,
    mpi_annotations,
    mpii_release,
    newell,
    penn_plain_and_compressed,
    person,
    posetrack,
    results_folder,
    safetensors,
    sequence,
    spin,
    study,
)
from fuzzing import Target
from joblib_writer import joblib_bytes
from small_videos import figure_images, write_video

from maed_jax.ablation.study import summarise
from maed_jax.body.files import load_body
from maed_jax.data import records, schema
from maed_jax.datasets import matlab, neural_annot, smpl_labels
from maed_jax.datasets.coco.coco import read_annotations
from maed_jax.datasets.h36m.metadata import read_metadata
from maed_jax.datasets.h36m.poses import read_cdf
from maed_jax.datasets.instavariety.instavariety import read_tracks
from maed_jax.datasets.lspet.lspet import read_joints
from maed_jax.datasets.maed_db.database import read_database
from maed_jax.datasets.mannequins import mocap
from maed_jax.datasets.mpi_inf_3dhp.annotations import read_calibration, read_train
from maed_jax.datasets.mpii.annotations import read_newell, read_release
from maed_jax.datasets.pennaction.pennaction import read_labels
from maed_jax.datasets.posetrack.posetrack import Task, read_video
from maed_jax.datasets.threedpw.sequence import read_sequence
from maed_jax.evaluation import compare, report
from maed_jax.files.json import write_json
from maed_jax.inference import (
    detect_video,
    image_sequence,
    people,
    person_attention,
    results,
    video,
)
from maed_jax.inference.boxes_file import read_boxes
from maed_jax.inference.unfinished import Work
from maed_jax.runs.config import load_config
from maed_jax.runs.restore import read_model
from maed_jax.visual import index_page as page
from maed_jax.weights.arrays import read_arrays

PICKLED = (
    b"cos\nsystem\n", b"c__builtin__\neval\n", b"(", b"t", b"R", b"b", b"\x93", b"\x81", b"\x85",
    b"\x94", b"h\x00", b"cnumpy\ndtype\n", b"N", b"}", b"]", b"s", b"a",
)  # fmt: skip
JSON = (b"null", b"[]", b"{}", b"true", b"1e999", b"NaN", b'"', b",", b"[[[[", b"-1", b"}")


# --- Assembling files -----------------------------------------------------------------------------


def whole(write: Callable[[Path], object], name: str) -> Callable[[Path], list[list[bytes]]]:
    """Returns a function for seeds of one file, written by `write(folder)` as `name`."""

    def seeds(folder: Path) -> list[list[bytes]]:
        write(folder)
        return [[(folder / name).read_bytes()]]

    return seeds


def as_json(*contents) -> Callable[[Path], list[list[bytes]]]:
    return lambda folder: [[json.dumps(content).encode()] for content in contents]


class Zipped:
    """Zip archives; members are mutated individually, and so is the whole file."""

    def __init__(self, write: Callable[[Path], object], name: str):
        self._write, self._name, self._names = write, name, []

    def seeds(self, folder: Path) -> list[list[bytes]]:
        self._write(folder)
        with zipfile.ZipFile(folder / self._name) as archive:
            self._names = archive.namelist()
            return [[archive.read(name) for name in self._names]]

    def pack(self, parts: list[bytes]) -> bytes:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, part in zip(self._names, parts):
                archive.writestr(name, part)
        return data.getvalue()


def zipped(write, name: str, read, file: str | None = None, words=()) -> Target:
    archive = Zipped(write, name)
    return Target(file or name, archive.seeds, read, archive.pack, words)


def compressed(parts: list[bytes]) -> bytes:
    return zlib.compress(b"".join(parts))


def tracks_of(path: Path):
    return list(read_tracks(path, collections.Counter()))


OVERRIDES = (
    b"optimizer.learning_rate=1e-3", b"model.stage_sizes=(1, 1, 1)", b"seed=3", b"data.mix_by_size",
    b"data.clips=(('mannequins/demo', 1.0), ('x', 0.5))", b"model.dtype=bfloat16",
)  # fmt: skip


def override(path: Path) -> None:
    load_config("demo:stage1", ["--config." + path.read_bytes().decode("latin1")])


def read_lines_of_work(path: Path) -> None:
    form = detect_video.DETECTED
    found = Work(path.parent).lines(path.stem, form)
    assert Work(path.parent).lines(path.stem, form) == found  # reading repaired the file


def read_array_of_work(path: Path) -> None:
    assert Work(path.parent).array(path.stem, (5, 3)).shape == (5, 3)


def read_results_folder(path: Path) -> None:
    content, _ = results.load_results(path.parent)
    page.page(content)


def read_study(path: Path) -> None:
    target = path.parent / "ste-ktd" / "0" / "result.json"
    target.write_bytes(path.read_bytes())
    summarise(path.parent)


def compare_results(path: Path) -> None:
    found = report.read(path)
    compare.as_text(compare.compare(found, report.read(path.with_name("other.json"))), "a", "b")


def compared(folder: Path) -> list[list[bytes]]:
    write_json(folder / "other.json", test_compare.results([50.0, 60.0]))
    return as_json(test_compare.results([49.0, 62.0]))(folder)


def move(path: Path) -> None:
    mocap.load_motion.__wrapped__(str(path))


def decode(path: Path) -> None:
    for frame in video.open_video(path).frames():
        frame.image(64)


def dataset(name: str, of: str) -> Callable[[Path], list[list[bytes]]]:
    """Returns seeds for a file that describes the records of a prepared dataset."""

    def seeds(folder: Path) -> list[list[bytes]]:
        if name == "features.json":
            schema.features().save_config(folder)
        else:
            schema.write_tracks(folder, of, [schema.Track("a", 0, 3), schema.Track("b", 3, 2, "x")])
        return [[(folder / name).read_bytes()]]

    return seeds


TARGETS: Mapping[str, Target] = {
    "BVH": Target("w.bvh", whole(bvh, "w.bvh"), move, words=(
        b"JOINT a\n{\n", b"OFFSET 0 0 0\n", b"CHANNELS 3 Xrotation Yrotation Zrotation\n", b"}\n",
        b"End Site\n", b"MOTION\n", b"#")),
    "AMC": Target("walk_01.amc", whole(acclaim, "walk_01.amc"), move),
    "ASF": Target("walk.asf", whole(acclaim, "walk.asf"),
                  lambda path: move(path.with_name("walk_01.amc")),
                  words=(b"begin\n", b"end\n", b"dof rx\n", b"root", b":hierarchy\n")),
    "MOT boxes": Target("b.txt", lambda f: [[b"1,1,10,20,30,40,0.9,-1\n2,1,11,20,30,40,0.8,-1\n"
                                             b"2,-1,11,20,30,40,1\n"], [b"frame id x y w h\n"
                                             b"1 1 5 5 5 5\n9 1 6 6 5 5\n"]],
                        lambda path: read_boxes(path).tracks(50, 30.0)),
    "boxes .npz": zipped(lambda f: results.save_person(f / "b.npz", person()), "b.npz",
                         lambda path: read_boxes(path).tracks(50, 30.0)),
    "COCO json": Target("c.json", whole(coco, "annotations/person_keypoints_train2014.json"),
                        lambda path: read_annotations(path, path.parent), words=JSON),
    "PoseTrack json": Target("p.json", posetrack, lambda path: list(read_video(
        Task(path, path.parent, 2), collections.Counter())), words=JSON),
    "EFT json": Target("e.json", as_json({"ver": 0.1, "data": [raw_stills.eft("a.jpg", 1)] * 2}),
                       smpl_labels.read_eft, words=JSON),
    "NeuralAnnot json": Target("n.json", as_json({"1": {"1": {"0": {
        "pose": [0.1] * 72, "shape": [0.0] * 10}}}}), neural_annot.read_neural_annot, words=JSON),
    "NeuralAnnot cameras": Target("n.json", as_json({"1": {
        "R": np.eye(3).tolist(), "t": [1, 2, 3], "f": [1, 1], "c": [0, 0]}}),
        neural_annot.read_neural_cameras, words=JSON),
    "MATLAB v5 (Penn Action)": Target("0001.mat", penn_plain_and_compressed, read_labels),
    "MATLAB v5 (MPII)": Target("r.mat", mpii_release, lambda path: read_release(
        path, path.parent, frozenset(["2.jpg"]))),
    "MATLAB v5 (LSP-Extended)": Target("joints.mat", whole(lambda f: scipy.io.savemat(
        f / "joints.mat", {"joints": np.ones((14, 3, 4))}), "joints.mat"), read_joints),
    "MATLAB v5 (MPI-INF-3DHP)": Target("a.mat", whole(lambda f: raw_mpi_inf_3dhp.write_annotations(
        f / "annot.mat", {}), "annot.mat"), lambda path: read_train(path, 1, 5)),
    "MATLAB v7.3 (MPI-INF-3DHP)": Target("a.mat", whole(mpi_annotations, "annot.mat"),
                                         lambda path: read_train(path, 1, 5)),
    "MATLAB v7.3 (masks)": Target("m.mat", whole(masks, "m.mat"), lambda path: list(
        matlab.read_cells(path, "Masks", range(3)))),
    "HDF5 (MPII)": Target("t.h5", whole(newell, "t.h5"),
                          lambda path: read_newell(path, path.parent)),
    "CDF": Target("p.cdf", whole(lambda f: raw_h36m.write_cdf(f / "p.cdf", np.ones((2, 32, 3))),
                                 "p.cdf"), lambda path: read_cdf(path, 3)),
    "metadata.xml": Target("m.xml", whole(lambda f: raw_h36m.write_metadata(f / "m.xml"), "m.xml"),
                           read_metadata, words=(b"<a>", b"</a>", b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
                                                 b"&b;", b"<![CDATA[", b"<mapping>")),
    "camera.calibration": Target("c", whole(lambda f: raw_mpi_inf_3dhp.write_calibration(f / "c"),
                                            "c"), lambda path: read_calibration(path, 0)),
    "TFRecord": Target("t.tfrecord", lambda f: [[raw_instavariety.track(1), raw_instavariety.track(
        1, training=False)]], tracks_of, lambda parts: b"".join(map(
            raw_instavariety.framed, parts))),
    "config overrides": Target("o.txt", lambda f: [[each] for each in OVERRIDES], override,
                               words=(b"(", b")", b"'", b",", b"=", b"None", b"__class__",
                                      b"model.depth=", b"[", b"lambda:0", b"\\")),
    "config.json": Target("config.json", lambda f: [[json.dumps(load_config(
        "demo:stage2").to_dict()).encode()]], lambda path: read_model(path.parent), words=JSON),
    "person .npz": zipped(lambda f: results.save_person(f / "p.npz", person()), "p.npz",
                          results.load_person),
    "attention .npz": zipped(lambda f: person_attention.save_attention(
        f / "a.npz", small_results.attention_of(person())), "a.npz",
                            person_attention.load_attention),
    "results.json": Target("results.json", results_folder, read_results_folder, words=JSON),
    "results of eval": Target("r.json", compared, compare_results, words=JSON),
    "result of a study": Target("r.json", study, read_study, words=JSON),
    "work: people": zipped(found_people, "found.npz", lambda path: people._unpack(
        Work(path.parent).load("found") or {})),
    "work: detections": Target("d.jsonl", lambda f: [[b"[[1.0, 2.0, 3.0, 4.0, 0.5]]\nnull\n[]\n"]],
                               read_lines_of_work, words=JSON),
    "work: arrays": Target("x.npy", whole(lambda f: np.save(f / "x.npy", np.zeros(
        (5, 3), np.float32)), "x.npy"), read_array_of_work),
    "dataset_info.json": Target("dataset_info.json", as_json({
        "name": "a", "version": "1.0.0", "splits": [{
            "name": "train", "numBytes": "9", "shardLengths": ["3", "2"]}]}),
        lambda path: records.files_of(path.parent), words=JSON),
    "features.json": Target("features.json", dataset("features.json", "train"),
                            lambda path: records._check_features(path.parent), words=JSON),
    "table of tracks": Target("tracks-train.json", dataset("tracks-train.json", "train"),
                              lambda path: schema.read_tracks(path.parent, "train"), words=JSON),
    "SMPL .pkl": Target("SMPL_NEUTRAL.pkl", body_pickles, load_body, words=PICKLED),
    "SMPL .npz": zipped(body_npz, "body.npz", load_body),
    "3DPW .pkl": Target("walk_00.pkl", whole(sequence, "w.pkl"), read_sequence, words=PICKLED),
    "MoSh .pkl": Target("m.pkl", lambda f: [[pickle.dumps({
        "new_poses": np.ones((2, 72)), "betas": np.ones(10)}, 2)]], smpl_labels.read_mosh,
        words=PICKLED),
    "SPIN .npz": zipped(spin, "s.npz", smpl_labels.read_spin),
    "SPIN .npy": Target("f.npy", whole(lambda f: np.save(f / "f.npy", np.ones((2, 82))), "f.npy"),
                        smpl_labels.read_spin),
    "torch .pth": zipped(checkpoint, "a.pth", read_arrays, words=PICKLED),
    "torch .pth, old form": Target("a.pth", legacy_checkpoint, read_arrays, words=PICKLED),
    "weights .npz": zipped(lambda f: np.savez_compressed(f / "w.npz", a=np.ones((2, 3))), "w.npz",
                           read_arrays),
    "weights .safetensors": Target("w.safetensors", safetensors, read_arrays, words=JSON),
    "joblib": Target("x_db.pt", lambda f: [[joblib_bytes(database())],
                                           [joblib_bytes(database(), 4, True)]], read_database,
                     words=PICKLED),
    "joblib, compressed": Target("x_db.pt", lambda f: [[joblib_bytes(database())]], read_database,
                                 compressed, words=PICKLED),
    "images": Target("p.jpg", lambda f: [[raw_dots.jpeg(np.full((24, 32, 3), 99, np.uint8))]],
                       image_sequence.read_image),
    "videos": Target("v.mp4", lambda f: [[write_video(f / "s.mp4", figure_images(
        [[(30, 30)]] * 3, (48, 64), 40)).read_bytes()]], decode),
}  # fmt: skip
