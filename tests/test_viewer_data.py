import dataclasses
import gzip
import json
import shutil
import struct
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from small_results import FRAMES, attention_of, contents, moving_person, write_results

from maed_jax.body.mannequin import mannequin
from maed_jax.body.smpl import pose_body, restrict
from maed_jax.errors import UserError
from maed_jax.inference.results import load_person, load_results
from maed_jax.visual import viewer_data
from maed_jax.visual.viewer_data import page_data

PAGE = Path(viewer_data.__file__).parent / "page"


def unpack(data: bytes):
    """Reads meta and arrays from the output of `pack`, like page/data.js."""
    data = gzip.decompress(data)
    (length,) = struct.unpack_from("<I", data)
    header = json.loads(data[4 : 4 + length])
    arrays = {}
    for name, place in header["arrays"].items():
        count = int(np.prod(place["shape"]))
        array = np.frombuffer(data, place["type"], count, 4 + length + place["offset"])
        arrays[name] = array.reshape(place["shape"])
    return header["meta"], arrays


@pytest.fixture(scope="module")
def body():
    """Every fifth vertex of the mannequin, including shoulders and hips."""
    return restrict(mannequin(), np.arange(0, len(mannequin().template), 5))


@pytest.fixture(scope="module")
def packed(body):
    people = [moving_person(3), moving_person(1, (2, 3, 5))]
    return people, page_data(contents(people), people, body, title="t")


@pytest.fixture(scope="module")
def truth(body, packed):
    """Vertices of both people, [n verts 3] each."""
    rotmat, shape = (
        np.concatenate([getattr(p, k) for p in packed[0]]) for k in ("rotmat", "shape")
    )
    return np.split(np.asarray(jax.jit(pose_body)(body, rotmat, shape).verts), [FRAMES])


def test_the_page_gets_the_very_numbers_of_the_files(tmp_path, body):
    out, _ = write_results(tmp_path)
    content, people = load_results(out)
    meta, arrays = unpack(page_data(content, people, body, title="walk"))
    assert [person["id"] for person in meta["people"]] == [1, 2] and meta["title"] == "walk"
    for id in (1, 2):
        saved = load_person(out / f"person_{id}.npz")
        for name in (
            "frames",
            "pose",
            "shape",
            "translation",
            "camera",
            "boxes",
            "crops",
            "detected",
        ):
            np.testing.assert_array_equal(arrays[f"{id}/{name}"], getattr(saved, name))
    np.testing.assert_allclose(arrays["times"], np.arange(FRAMES) / 10, atol=1e-6)


def test_posing_what_the_page_gets_is_pose_body(packed, truth):
    """The page's way of posing, rewritten in NumPy."""
    meta, a = unpack(packed[1])
    R = Rotation.from_rotvec(a["3/pose"].reshape(-1, 3)).as_matrix().reshape(-1, 24, 3, 3)
    features = np.c_[a["3/shape"], (R[:, 1:] - np.eye(3)).reshape(len(R), -1)]
    rest = a["body/template"] + meta["step"] * np.einsum(
        "nk,kvi->nvi", features, a["body/directions"]
    )
    homes = a["body/rest_joints"] + np.einsum(
        "nk,jik->nji", a["3/shape"], a["body/rest_joint_dirs"]
    )
    T = np.zeros((len(R), 24, 4, 4))
    for j, parent in enumerate(a["body/parents"]):
        local = np.tile(np.eye(4), (len(R), 1, 1))
        local[:, :3, :3] = R[:, j]
        local[:, :3, 3] = homes[:, j] - (homes[:, parent] if parent >= 0 else 0)
        T[:, j] = T[:, parent] @ local if parent >= 0 else local
    T[..., :3, 3] -= np.einsum("njik,njk->nji", T[..., :3, :3], homes)
    blended = np.einsum("vk,nvkab->nvab", a["body/skin_weights"], T[:, a["body/skin_joints"]])
    verts = np.einsum("nvik,nvk->nvi", blended[..., :3, :3], rest) + blended[..., :3, 3]
    assert np.abs(verts - truth[0]).max() < 2e-4  # metres


@pytest.mark.skipif(not shutil.which("node"), reason="needs node to run the page's script")
def test_the_pages_own_script_poses_as_pose_body(packed, truth, tmp_path):
    packed_file = tmp_path / "data"
    packed_file.write_bytes(packed[1])
    script = (
        "".join((PAGE / name).read_text() for name in ("data.js", "geometry.js"))
        + """
    const base64 = require("fs").readFileSync(process.argv[2]).toString("base64");
    readData(base64).then(({ meta, arrays }) => {
      const person = makePerson(meta.people[1], arrays);
      const body = Object.fromEntries(Object.entries(arrays).map(([k, v]) => [k.slice(5), v]));
      body.sparse = sparseDirections(body.directions, meta.step);
      const rows = [0, 2, 3, 4, 5, 7].map(person.row);
      const { rest, bones } = poseOf(body, person, 2);
      const verts = [];
      for (let v = 0; v < rest.length / 3; v++)
        for (let i = 0; i < 3; i++) {
          let sum = 0;
          for (let k = 0; k < 4; k++) {
            const line = bones.subarray(12 * body.skin_joints[4 * v + k] + 4 * i);
            const point = dot(line, rest.subarray(3 * v, 3 * v + 3)) + line[3];
            sum += body.skin_weights[4 * v + k] * point;
          }
          verts.push(sum);
        }
      console.log(JSON.stringify({ id: person.id, rows, verts }));
    });"""
    )
    (tmp_path / "pose.cjs").write_text(script)
    command = ["node", str(tmp_path / "pose.cjs"), str(packed_file)]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert answer["id"] == 1 and answer["rows"] == [-1, 0, 1, -1, 2, -1]
    verts = np.reshape(answer["verts"], (-1, 3))
    assert np.abs(verts - truth[1][2]).max() < 2e-4


def test_a_body_with_more_influences_is_refused(body):
    even = dataclasses.replace(body, skin_weights=jnp.full_like(body.skin_weights, 1 / 24))
    with pytest.raises(UserError, match="more than 4 joints"):
        viewer_data.body_arrays(even)


def test_attention_is_rounded_for_the_eye(body):
    person = moving_person(3)
    attention = attention_of(person)
    data = page_data(contents([person]), [person], body, title="t", attention={3: attention})
    arrays = {k[12:]: v for k, v in unpack(data)[1].items() if k.startswith("3/attention/")}
    np.testing.assert_array_equal(arrays["clip_frames"], attention.clip_frames)
    for name in ("time", "gates", "joints"):
        np.testing.assert_allclose(arrays[name] / 255, getattr(attention, name), atol=0.5 / 255)
    assert (arrays["space"].max((-1, -2)) == 255).all()
    least = dataclasses.replace(attention, space=None, time=None, clip_frames=None, gates=None)
    assert viewer_data.attention_arrays(least).keys() == {"blocks", "joints"}


def test_the_floor_is_under_the_feet(body):
    person = moving_person()
    points = np.zeros((FRAMES, 49, 3), np.float32)
    points[:, viewer_data.FEET, 1] = 0.9
    person = dataclasses.replace(person, keypoints_3d=points)
    assert viewer_data.floor_height([person]) == pytest.approx(0.92)
    assert len(viewer_data.FEET) == 6


def test_times_of_frames_without_people_follow_the_rate():
    person = dataclasses.replace(moving_person(1, (2, 4)), times=np.array([0.3, 0.5]))
    times = viewer_data.frame_times(contents([person]), [person])
    np.testing.assert_allclose(times, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
