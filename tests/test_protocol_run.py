"""Which frames each protocol includes, on records like 3DPW's, MPI-INF-3DHP's and Human3.6M's."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fake_dataset import write_fake_dataset
from scipy.interpolate import interp1d
from stub_estimator import Oracle, Stub

from maed_jax.body import smpl
from maed_jax.body.mannequin import mannequin
from maed_jax.body.rotations import matrix_from_axis_angle
from maed_jax.body.skeleton import H36M_TO_J14, J49_TO_MPII3D
from maed_jax.data.images import normalise
from maed_jax.data.records import Records
from maed_jax.data.windows import reflect
from maed_jax.errors import UserError
from maed_jax.evaluation import posing, protocol_run, report
from maed_jax.evaluation.predictions import predict
from maed_jax.evaluation.protocol_choice import choose
from maed_jax.evaluation.scoring import Bodies

HOW = protocol_run.ClipSettings(stride=2, margin=1.3, frames_per_batch=12)


@pytest.fixture(scope="module")
def body():
    return smpl.keypoint_body(mannequin(), h36m=True)


@pytest.fixture(scope="module")
def like_3dpw(tmp_path_factory):
    """11 and 9 frames; in the first track, 4 is invalid and only six limb joints are seen in 7."""

    def edit(i, record):
        record["keypoints_2d"][:, 2] = 1
        if i == 4:
            record["valid"] = False
        if i == 7:
            record["keypoints_2d"][25:31, 2] = 0  # the remaining six of twelve are too few
        record["keypoints_3d"][:] = np.nan

    return write_fake_dataset(
        tmp_path_factory.mktemp("data"), (11, 9), name="threedpw", split="test", edit=edit
    )


@pytest.fixture(scope="module")
def like_3dhp(tmp_path_factory, body):
    """12 frames with 17 keypoints of a known pose; 3 is invalid, in 8 a wrist is outside."""
    pose = jax.jit(lambda p, s: smpl.keypoints(body, smpl.pose_body(body, p, s)))

    def edit(i, record):
        record["has_smpl"] = False
        points = pose(matrix_from_axis_angle(record["pose"].reshape(24, 3)), record["shape"])
        record["keypoints_3d"][:] = 0
        labelled = np.c_[np.asarray(points) + np.float32([0.1, 0.2, 4]), np.ones(49)]
        record["keypoints_3d"][J49_TO_MPII3D] = labelled[J49_TO_MPII3D]
        record["keypoints_2d"][:, 2] = 1
        record["valid"], record["frame_rate"] = i != 3, 0.0
        if i == 8:
            record["keypoints_2d"][31, 2] = 0

    return write_fake_dataset(
        tmp_path_factory.mktemp("data"), [12], name="mpi_inf_3dhp", split="test", edit=edit
    )


class TruthOfRecords(Oracle):
    """An oracle that also knows the poses of records without pose labels."""

    def __init__(self, records):
        super().__init__()
        self.records = records

    def __call__(self, clip, vertices):
        rows = [[self.records[int(f)] for f in clip] for clip in self.labels["frame"]]
        for name in ("pose", "shape"):
            self.labels[name] = np.array([[row[name] for row in clip] for clip in rows])
        return super().__call__(clip, vertices)


def run(directory, body, estimator, protocols, how=HOW, monkeypatch=None, **options):
    records = Records(directory, "test")
    if monkeypatch is not None:  # an oracle sees one batch at a time, on one device
        monkeypatch.setattr(protocol_run, "on_local_devices", lambda *same: same)
        options["progress"] = estimator.watch
    return protocol_run.run(
        estimator, Bodies(body, "mannequin"), records, protocols, how, **options
    )


def frames(result):
    return {t.name: t.labels.frame[np.isfinite(t.errors["mpjpe"])] for t in result.scores.tracks}


def test_3dpw_filters_frames_as_each_protocol_says(like_3dpw, body, monkeypatch):
    protocols = choose("3dpw", "maed,tcmr") + choose(
        "3dpw", "spin,wham", [("truth", "neutral"), ("flip", "false")]
    )
    seen = []
    monkeypatch.setattr(
        protocol_run, "predict", lambda *a, **k: seen.append(a[1].frames) or predict(*a, **k)
    )
    found = run(like_3dpw, body, Oracle(), protocols, monkeypatch=monkeypatch)
    whole = list(range(9))
    for result, left_out in zip(found, ([7], [4, 7], [4], [4, 7])):
        first, second = frames(result).values()
        assert first.tolist() == [i for i in range(11) if i not in left_out]
        assert second.tolist() == whole
        for track in result.scores.tracks:
            for name in result.scores.protocol.metrics:
                assert np.nanmax(track.errors[name]) < 1e-2, name
    assert len(seen) == 3  # wham and tcmr see the same frames and share a pass
    # ACCEL of maed crosses the gap and the boundary of the tracks; the corrected form does not.
    first, second = found[0].scores.tracks
    assert np.isfinite(first.errors["accel"]).sum() == 9
    assert np.isfinite(second.errors["accel"]).sum() == 8
    np.testing.assert_array_equal(
        first.labels.frame[np.isfinite(first.errors["accel_frame"])], [1, 2, 3, 4, 5, 9]
    )
    assert np.isfinite(second.errors["accel_second"]).sum() == 7


def test_3dhp_compares_labelled_keypoints(like_3dhp, body, monkeypatch):
    oracle = TruthOfRecords(Records(like_3dhp, "test"))
    protocols = choose("mpi_inf_3dhp", "maed,spin,tcmr")
    maed, spin, tcmr = run(like_3dhp, body, oracle, protocols, monkeypatch=monkeypatch)
    assert {name: f.tolist() for name, f in frames(maed).items()} == {
        "track0:0": [0, 1, 2, 3, 4, 5, 6, 7],
        "track0:9": [9, 10, 11],
    }
    assert list(frames(tcmr)) == ["track0:0", "track0:4", "track0:9"]
    assert len(frames(spin)["track0"]) == 10
    for result in (maed, tcmr):
        for track in result.scores.tracks:
            assert np.nanmax(track.errors["mpjpe"]) < 1e-2
            assert (track.errors["pck"] == 100).all()
            np.testing.assert_allclose(track.errors["auc"], 100 * 30 / 31)
    # The regressor's joints differ from the labelled joints of the same body.
    assert np.nanmean(spin.scores.tracks[0].errors["pa_mpjpe"]) > 1
    assert set(maed.scores.missing) == {"pve", "accel_second"}


def test_frame_rates_are_thinned_out(tmp_path, body, monkeypatch):
    def edit(i, record):
        record["keypoints_3d"][:, 3] = 1
        record["valid"] = i != 10
        record["frame_rate"], record["frame"] = 50.0, 2 * i  # built from every second frame

    directory = write_fake_dataset(tmp_path, [26], name="h36m", split="test", edit=edit)
    (p1,) = choose("h36m", "p1")
    (result,) = run(directory, body, Oracle(), choose("h36m", "maed"), monkeypatch=monkeypatch)
    assert len(frames(result)["track0"]) == 26 and result.clips.labels[0].rate == 25
    with pytest.raises(UserError, match="p1 needs 10 frames per second, but the records have 25"):
        run(directory, body, Stub(), [p1])
    (five,) = choose("h36m", "p1", [("frame_rate", "5")])
    (result,) = run(directory, body, Oracle(), [five], monkeypatch=monkeypatch)
    assert frames(result)["track0"].tolist() == [0, 10, 20, 30, 40, 50]
    (five,) = choose("h36m", "p1", [("frame_rate", "5"), ("gaps", "cut")])
    (result,) = run(directory, body, Oracle(), [five], monkeypatch=monkeypatch)
    assert frames(result)["track0"].tolist() == [0, 10, 20, 30, 40, 50]  # no gap among them
    settings = [("frame_rate", "5"), ("gaps", "cut"), ("frames", "valid")]
    (result,) = run(
        directory, body, Oracle(), choose("h36m", "p1", settings), monkeypatch=monkeypatch
    )
    parts = {name: found.tolist() for name, found in frames(result).items()}
    assert parts == {"track0:0": [0, 10], "track0:15": [30, 40, 50]}
    with pytest.raises(UserError, match="protocol p2.* leaves no frames"):
        run(directory, body, Stub(), choose("h36m", "p2", [("frame_rate", "0")]))


@pytest.mark.parametrize("every", [2, 4])
def test_interpolated_predictions_are_of_all_frames(like_3dpw, body, every):
    """Between predicted frames, joints and vertices are interpolated, not rotations."""
    (protocol,) = choose("other", "maed")
    how = dataclasses.replace(HOW, stride=4, every=every)
    (result,) = run(like_3dpw, body, Stub(), [protocol], how)
    track, clips = result.scores.tracks[0], result.clips
    # By hand: 11 frames, padded to a window of 16, of which every n-th frame is predicted.
    looked_at = reflect(np.arange(0, 16, every), 11)
    crops = np.stack([clips.crop(0, frame) for frame in looked_at])
    answer = Stub()(jnp.asarray(normalise(crops))[None], vertices=False)
    posed = smpl.pose_body(body, answer.rotmat[0], answer.shape[0])
    between = interp1d(np.arange(1, len(looked_at) + 1) / len(looked_at), np.arange(len(looked_at)),
                       fill_value="extrapolate")(np.linspace(0, 1, 16)[:11])  # fmt: skip
    joints, verts = (
        interp1d(np.arange(len(part)), part, axis=0, fill_value="extrapolate")(between)
        for part in (np.asarray(smpl.h36m_joints(body, posed))[:, H36M_TO_J14], posed.verts)
    )
    joints -= joints[:, 2:4].mean(1, keepdims=True)
    np.testing.assert_allclose(track.joints, joints, atol=1e-5)
    labels = clips.labels[0]
    true = smpl.pose_body(body, jnp.asarray(posing.rotations(labels.pose)), labels.shape)
    pve = 1000 * np.linalg.norm(verts - np.asarray(true.verts), axis=-1).mean(-1)
    np.testing.assert_allclose(track.errors["pve"], pve, rtol=1e-5)
    predicted = result.predicted
    assert predicted["pose"][0].shape == (11, 72) and np.isfinite(predicted["pose"][0]).all()
    turns = predicted["rotmat"][0]
    identity = np.broadcast_to(np.eye(3), turns.shape)
    np.testing.assert_allclose(turns @ turns.swapaxes(-1, -2), identity, atol=1e-5)


def test_a_still_body_may_be_interpolated(like_3dpw, body):
    class Still(Stub):
        def __call__(self, clip, *, vertices):
            return Stub.__call__(self, jnp.ones_like(clip), vertices=vertices)

    (protocol,) = choose("other", "maed")
    found = [
        run(like_3dpw, body, Still(), [protocol], dataclasses.replace(HOW, every=every))[0]
        for every in (1, 2)
    ]
    for a, b in zip(*(f.scores.tracks for f in found)):
        for name in ("mpjpe", "pve", "accel"):
            np.testing.assert_allclose(a.errors[name], b.errors[name], atol=1e-3)


def test_rows_have_what_the_protocols_ask_for(like_3dhp, body):
    found = run(like_3dhp, body, Stub(), choose("mpi_inf_3dhp", "tcmr", [("metrics", "mpjpe,pve")]))
    about = {"dataset": "mpi_inf_3dhp", "dataset_version": "1.0.0", "split": "test"}
    content = report.content(found, about | {"checkpoint": "x", "step": 1})
    assert list(content["rows"][0]) == [
        "protocol", "predictor", "subset", "frames", "mpjpe", "pve",
    ]  # fmt: skip
    text = report.as_text(content)
    assert (
        "-: tcmr, metrics=mpjpe,pve: no PVE: the ground truth is keypoints, which have no surface"
        in text
    )
    assert text.splitlines()[4].split()[-1] == "-"


def test_a_protocol_without_its_body_fails_before_the_pass(like_3dpw, tmp_path, body):
    def edit(i, record):
        record["gender"] = "male"

    directory = write_fake_dataset(tmp_path, [3], name="threedpw", split="test", edit=edit)
    with pytest.raises(UserError, match="protocol wham: the male body is needed"):
        run(directory, body, None, choose("3dpw", "maed,wham"))
