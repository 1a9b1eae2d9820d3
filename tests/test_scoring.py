"""Errors of known predictions, with every frame in its place for any batch size."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from fake_dataset import write_fake_dataset
from stub_estimator import Oracle, Stub, rotated

from maed_jax.body import smpl
from maed_jax.body.mannequin import mannequin
from maed_jax.data.eval_clips import evaluation_clips
from maed_jax.errors import UserError
from maed_jax.evaluation import scoring, table
from maed_jax.evaluation.predictions import predict
from maed_jax.evaluation.protocol_choice import choose
from maed_jax.evaluation.protocols import PRESETS

LENGTHS, SUBSETS = (11, 20, 5), ("plain", "occlusion", "plain")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    unlabelled = lambda i, record: record.update(has_smpl=i != 3)  # noqa: E731
    return write_fake_dataset(directory, LENGTHS, split="test", subsets=SUBSETS, edit=unlabelled)


@pytest.fixture(scope="module")
def body():
    """The mannequin restricted to the vertices that its joints need."""
    return smpl.keypoint_body(mannequin(), h36m=True)


def clips_of(dataset, batch_size=3):
    return evaluation_clips(dataset, "test", 4, 16, stride=2, batch_size=batch_size, margin=1.3)


def run(dataset, body, oracle):
    clips = clips_of(dataset)
    return scoring.plain_scores(predict(oracle, clips, progress=oracle.watch), clips, body)


def scores_of(dataset, body, oracle, protocol):
    clips = clips_of(dataset)
    predicted = predict(oracle, clips, progress=oracle.watch)
    return scoring.score(predicted, clips, scoring.Bodies(body), protocol)


def test_perfect_predictions_have_no_error_and_every_frame_its_place(dataset, body):
    rows = table.rows("model", run(dataset, body, Oracle()))
    assert [(row["subset"], row["frames"]) for row in rows] == [
        ("plain", 15),  # one of the 16 has no labels
        ("occlusion", 20),
        ("all", 35),
    ]
    for row in rows:
        assert max(row[name] for name in scoring.PLAIN.metrics) < 1e-3


def test_a_turned_body_is_wrong_until_it_is_aligned(dataset, body):
    oracle = Oracle(lambda pose, shape: (rotated(pose, [0, np.pi / 2, 0]), shape))
    (row,) = table.rows("model", run(dataset, body, oracle))[-1:]
    assert row["pa_mpjpe"] < 1e-2
    assert row["mpjpe"] > 50 and row["pve"] > 50 and row["accel"] > 10


def test_batches_change_no_digit(dataset, body):
    """One clip at a time, several, and all at once."""
    protocol = PRESETS["3dpw"][0]
    found = []
    for batch_size in (1, 4, 100):
        clips = clips_of(dataset, batch_size)
        predicted = predict(Stub(), clips)
        found.append(scoring.score(predicted, clips, scoring.Bodies(body), protocol))
    for other in found[1:]:
        for a, b in zip(found[0].tracks, other.tracks):
            for name in a.errors:
                np.testing.assert_allclose(a.errors[name], b.errors[name], atol=1e-6)


def test_the_figures_are_those_of_plain_formulas(dataset, body):
    """Compares with the definitions, written out for one track in float64."""
    clips = clips_of(dataset)
    predicted = predict(Stub(), clips)
    (wham,) = choose("3dpw", "wham", [("flip", "false"), ("truth", "neutral")])
    found = scoring.score(predicted, clips, scoring.Bodies(body), wham).tracks[1]

    def bodies(pose, shape):
        turns = scoring.posing.rotations(pose)
        posed = smpl.pose_body(body, jnp.asarray(turns), jnp.asarray(shape))
        joints = np.asarray(smpl.h36m_joints(body, posed), np.float64)
        joints = joints[:, [6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10]]
        hips = (joints[:, [2]] + joints[:, [3]]) / 2
        return joints - hips, np.asarray(posed.verts, np.float64) - hips

    labels = clips.labels[1]
    joints, verts = bodies(predicted["pose"][1], predicted["shape"][1])
    true_joints, true_verts = bodies(labels.pose, labels.shape)
    mpjpe = 1000 * np.linalg.norm(joints - true_joints, axis=-1).mean(-1)
    np.testing.assert_allclose(found.errors["mpjpe"], mpjpe, atol=1e-2)
    pve = 1000 * np.linalg.norm(verts - true_verts, axis=-1).mean(-1)
    np.testing.assert_allclose(found.errors["pve"], pve, atol=1e-2)
    second = lambda x: x[2:] - 2 * x[1:-1] + x[:-2]  # noqa: E731
    accel = 900 * np.linalg.norm(second(joints) - second(true_joints), axis=-1).mean(-1)
    np.testing.assert_allclose(found.errors["accel"][2:-2], accel[1:-1], rtol=1e-4)
    assert np.isnan(found.errors["accel"][[0, 1, -2, -1]]).all()  # the ends are dropped


def test_joint_errors_are_those_of_the_joints(dataset, body):
    def bend_right_knee(pose, shape):
        pose = np.array(pose)
        pose[..., 3 * 5] += 0.5
        return pose, shape

    found = scores_of(dataset, body, Oracle(bend_right_knee), PRESETS["other"][0])
    errors = np.nanmean(np.concatenate([t.joint_errors for t in found.tracks]), axis=0)
    worst = found.protocol.joint_set.names[int(np.argmax(errors))]
    assert worst == "rankle" and errors[0] > 50 and errors[5] < 1e-2


def test_the_root_matters(dataset, body):
    def lean(pose, shape):
        pose = np.array(pose)
        pose[..., 3 : 3 * 3] += 0.4  # both hips: the regressor's pelvis joint stays
        return pose, shape

    (mid_hip,), (pelvis,) = (
        choose("other", "maed", [("root", root)]) for root in ("mid-hip", "pelvis")
    )
    one, other = (scores_of(dataset, body, Oracle(lean), p).tracks[0] for p in (mid_hip, pelvis))
    difference = one.errors["mpjpe"] - other.errors["mpjpe"]
    assert np.nanmax(np.abs(difference)) > 0.1
    np.testing.assert_allclose(one.errors["pa_mpjpe"], other.errors["pa_mpjpe"], atol=1e-6)


def test_gendered_truth_is_of_the_right_body(dataset, body):
    """A male body twice as large as the neutral one: the error vanishes after alignment."""
    protocol = dataclasses.replace(PRESETS["3dpw"][1], metrics=("mpjpe", "pve"))
    big = dataclasses.replace(
        body, template=2 * body.template, rest_joints=2 * body.rest_joints,
        shape_dirs=2 * body.shape_dirs, rest_joint_dirs=2 * body.rest_joint_dirs,
        pose_dirs=2 * body.pose_dirs,
    )  # fmt: skip
    clips, oracle = clips_of(dataset), Oracle()
    clips.labels = [dataclasses.replace(labels, gender="male") for labels in clips.labels]
    bodies = scoring.Bodies(body)
    bodies._bodies["male"] = big
    predicted = predict(oracle, clips, progress=oracle.watch)
    one = scoring.score(predicted, clips, bodies, protocol).tracks[0]
    assert np.nanmean(one.errors["mpjpe"]) > 100 and np.nanmean(one.errors["pa_mpjpe"]) < 1e-2


def test_a_missing_body_is_named(dataset, body, tmp_path):
    clips = clips_of(dataset)
    spin = PRESETS["3dpw"][1]
    labels = [dataclasses.replace(clips.labels[0], gender="female")]
    bodies = scoring.Bodies(body, str(tmp_path / "SMPL_NEUTRAL.pkl"))
    with pytest.raises(UserError, match="protocol spin: .*SMPL_FEMALE.npz is missing"):
        bodies.check(spin, labels)
    bodies.check(PRESETS["3dpw"][0], labels)  # needs no gendered body
    with pytest.raises(UserError, match="the female body is needed but this body has none"):
        scoring.Bodies(body, "mannequin").check(spin, labels)
    smpl_labels = [dataclasses.replace(clips.labels[0], body="smpl")]
    with pytest.raises(UserError, match="the labels are for the body 'smpl'"):
        scoring.Bodies(body, "mannequin").check(PRESETS["3dpw"][0], smpl_labels)


def test_labels_of_another_body_are_not_compared(dataset, body):
    oracle = Oracle()
    with pytest.raises(UserError, match="for the body 'mannequin', but the model's is 'smpl'"):
        run(dataset, dataclasses.replace(body, name="smpl"), oracle)


def test_tracks_without_a_label_do_not_matter_beside_one_with_some(tmp_path, body):
    some = write_fake_dataset(
        tmp_path, [5, 4], split="test", edit=lambda i, record: record.update(has_smpl=i in (1, 2))
    )
    first, second = run(some, body, Oracle())
    for name in ("mpjpe", "pa_mpjpe", "pve"):
        np.testing.assert_array_equal(np.isfinite(first.errors[name]), [0, 1, 1, 0, 0])
        assert np.isnan(second.errors[name]).all()


def test_no_labels_at_all(tmp_path, body):
    bare = write_fake_dataset(
        tmp_path, [5], split="test",
        edit=lambda i, record: record.update(has_smpl=False, has_3d=False),
    )  # fmt: skip
    with pytest.raises(UserError, match="none has pose labels"):
        run(bare, body, Oracle())
    with pytest.raises(UserError, match="none has 3D keypoint labels"):
        scores_of(bare, body, Oracle(), PRESETS["mpi_inf_3dhp"][0])
