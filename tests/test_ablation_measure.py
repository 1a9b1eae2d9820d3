"""The study's measurements on models and data with known answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fake_dataset import write_fake_dataset
from random_params import random_params
from scipy.spatial.transform import Rotation
from stub_estimator import Oracle, prediction

from maed_jax.ablation import measure
from maed_jax.body import smpl
from maed_jax.body.mannequin import mannequin
from maed_jax.body.skeleton import ANCESTORS
from maed_jax.data.augment import SIDES
from maed_jax.data.eval_clips import evaluation_clips
from maed_jax.data.records import Records
from maed_jax.errors import UserError
from maed_jax.estimator import Estimator
from maed_jax.evaluation import scoring, table
from maed_jax.evaluation.baseline import FIELDS, mean_pose
from maed_jax.evaluation.predictions import constant, predict
from maed_jax.models.maed import MAED

SUBSETS = ("plain", "occlusion", "clutter")
SMALL = dict(
    image_size=32, clip_length=4, stage_sizes=(1,), width=4, dim=16, depth=2, heads=2,
    feature_dim=12, decoder_width=16, dropout=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_fake_dataset(
        tmp_path_factory.mktemp("data"), (8, 9, 8), split="test", subsets=SUBSETS
    )


@pytest.fixture(scope="module")
def body():
    return smpl.keypoint_body(mannequin(), h36m=True)


def clips_of(dataset, subset=None):
    return evaluation_clips(dataset, "test", 4, 32, subset, stride=2, batch_size=3, margin=1.3)


def estimator_of(body, gate=None, **changes):
    """A random network; `gate` sets the weight of time in each block."""
    model = MAED(**SMALL | changes)
    variables = random_params(model.init, jnp.zeros((1, 4, 32, 32, 3)), body, method="regress")
    for i, weight in enumerate(gate or ()):
        layer = variables["params"]["encoder"][f"block{i}"]["attention"]["gate"]
        layer["kernel"] = jnp.zeros_like(layer["kernel"])
        odds = jnp.log(weight / (1 - weight))  # pairs of (space, time), softmax over each
        layer["bias"] = jnp.tile(jnp.array([0.0, odds]), model.dim)
    return Estimator(model, variables, body)


def test_a_turned_joint_is_wrong_itself_and_moves_what_hangs_on_it(body):
    rng = np.random.default_rng(0)
    pose = np.zeros((5, 24, 3), np.float32)
    shape = rng.normal(size=(5, 10)).astype(np.float32)
    turned = pose.copy()
    turned[:, 18, 2] = 0.5  # the left elbow
    found = measure.joint_errors(body, turned.reshape(5, 72), shape, pose.reshape(5, 72), shape)
    expected = np.where(np.arange(24) == 18, np.degrees(0.5), 0)
    np.testing.assert_allclose(found["rotation_deg"], expected, atol=1e-3)
    moved = np.array([18 in chain for chain in ANCESTORS])
    assert ((np.array(found["position_mm"]) > 1) == moved).all() and moved.sum() == 2
    # Three of five frames correct: two fifths of the error.
    turned[::2] = 0
    half = measure.joint_errors(body, turned.reshape(5, 72), shape, pose.reshape(5, 72), shape)
    assert half["rotation_deg"][18] == pytest.approx(0.4 * np.degrees(0.5), rel=1e-4)
    other = measure.joint_errors(body, pose.reshape(5, 72), shape, pose.reshape(5, 72), shape + 2)
    assert max(other["rotation_deg"]) < 1e-3 and min(other["position_mm"][1:]) > 1


def test_the_mean_pose_is_measured_as_evaluation_does(dataset, body):
    records = Records(dataset, "test")
    rotmat, shape = mean_pose(records.read(i, FIELDS) for i in range(len(records)))
    pose = Rotation.from_matrix(rotmat).as_rotvec().reshape(-1).astype(np.float32)
    clips = clips_of(dataset)
    found = measure.errors(constant(rotmat, shape, clips), clips, body)
    blind = Oracle(lambda p, s: (np.broadcast_to(pose, p.shape), np.broadcast_to(shape, s.shape)))
    answers = predict(blind, clips, progress=blind.watch)
    for row in table.rows("model", scoring.plain_scores(answers, clips, body)):
        ours = found["subsets"][row["subset"]]
        assert ours["frames"] == row["frames"] > 0
        theirs = [row[n] for n in scoring.PLAIN.metrics]
        assert [ours[n] for n in scoring.PLAIN.metrics] == pytest.approx(theirs, rel=1e-4)
    assert list(found["subsets"]) == [*SUBSETS, "all"]
    assert found["joints"]["position_mm"][0] == 0 and found["joints"]["position_mm"][22] > 10
    knowing = Oracle(lambda p, s: (p, s))
    exact = measure.errors(predict(knowing, clips, progress=knowing.watch), clips, body)["joints"]
    assert max(exact["position_mm"]) < 0.01 and max(exact["rotation_deg"]) < 0.1


def test_blanking_hides_a_part_of_one_frame():
    images = np.full((2, 3, 10, 10, 3), 255, np.uint8)
    for side in SIDES:
        hidden = (measure.blank(images, 1, side, 0.3) != 255).any(-1)
        assert hidden[:, 1].sum() == 2 * 30 and not hidden[:, [0, 2]].any()
    assert hidden[0, 1, 7:].all()  # the last side is the bottom
    assert (images == 255).all()


def test_clear_clips_are_whole_and_have_labels(tmp_path):
    def edit(index, record):
        record["has_smpl"] = index != 2

    clips = clips_of(write_fake_dataset(tmp_path, (8, 9), split="test", edit=edit))
    images, labels = measure.clear_clips(clips, 9)
    whole = [(0, [1, 3, 5, 7]), (1, [0, 2, 4, 6]), (1, [1, 3, 5, 7])]
    assert len(images) == len(whole)
    for image, pose, (track, frames) in zip(images, labels["pose"], whole):
        np.testing.assert_array_equal(image, [clips.crop(track, frame) for frame in frames])
        np.testing.assert_array_equal(pose, clips.labels[track].pose[frames])
    ends, labels_of_ends = measure.clear_clips(clips, 2)
    np.testing.assert_array_equal(ends, images[[0, 2]])
    for name in labels:
        np.testing.assert_array_equal(labels_of_ends[name], labels[name][[0, 2]])
    unknown = write_fake_dataset(
        tmp_path / "other", (8,), split="test", edit=lambda _, record: record.update(has_smpl=False)
    )
    with pytest.raises(UserError, match="no whole clip of the test split has labels"):
        measure.clear_clips(clips_of(unknown), 1)


def test_the_frame_that_is_blanked_is_the_one_compared(dataset, body):
    """An estimator that knows the labels has no error, whatever is blanked."""
    images, labels = measure.clear_clips(clips_of(dataset, "plain"), 2)
    seen = []

    def knowing(clip, *, vertices):
        seen.append(np.asarray(clip))
        return prediction(labels["pose"], labels["shape"])

    knowing.model = MAED(**SMALL, encoder="cnn")
    found = measure.blanked_frame(knowing, body, images, labels, (0.0, 0.5))
    np.testing.assert_allclose([found["mpjpe"], found["pa_mpjpe"]], 0, atol=1e-2)
    assert len(seen) == 1 + len(SIDES)
    for clip in seen[1:]:
        hidden = (clip != seen[0]).any((0, 2, 3, 4))
        assert list(hidden) == [False, False, True, False]


def test_forced_gates_are_read_and_answer_to_nothing(dataset, body):
    estimator = estimator_of(body, gate=(0.25, 0.9))
    images, labels = measure.clear_clips(clips_of(dataset, "plain"), 5)
    assert images.shape == (2, 4, 32, 32, 3)  # every second frame of a track of 8
    np.testing.assert_allclose(
        measure.time_gates(estimator, images), np.broadcast_to([0.25, 0.9], (2, 4, 2)), rtol=1e-5
    )
    found = measure.blanked_frame(estimator, body, images, labels, (0.0, 0.5))
    np.testing.assert_allclose(found["gate"], [[0.25, 0.9]] * 2, rtol=1e-5)
    np.testing.assert_allclose(found["gate_others"], [[0.25, 0.9]] * 2, rtol=1e-5)
    assert found["gate_correlation"] == [None, None]
    assert np.isfinite(found["pa_mpjpe"]).all() and found["mpjpe"][0] > found["pa_mpjpe"][0] > 1
    by_subset = measure.gates_by_subset(estimator, clips_of(dataset))
    assert list(by_subset["subsets"]) == [*SUBSETS, "all"]
    np.testing.assert_allclose(by_subset["subsets"]["clutter"], [0.25, 0.9], rtol=1e-5)
    assert by_subset["occlusion_correlation"] == [None, None]


def test_gates_that_follow_what_is_hidden_are_found_to(dataset, body, monkeypatch):
    """Replaces the network's gates by the fraction of each frame that is grey."""

    def grey(estimator, images):
        part = (images == images[:, :, :1, :1]).all(-1).mean((2, 3))
        return np.stack([part, 1 - part], -1)

    monkeypatch.setattr(measure, "time_gates", grey)
    images, labels = measure.clear_clips(clips_of(dataset, "plain"), 2)
    images[:] = np.random.default_rng(0).integers(0, 256, images.shape)
    images[:, :, :16] //= 2  # so that pixels of clear frames differ from the corner
    estimator = estimator_of(body)
    found = measure.blanked_frame(estimator, body, images, labels, (0.0, 0.25, 0.5))
    gate = np.array(found["gate"])
    assert gate[0, 0] < 0.01 and np.all(np.diff(gate[:, 0]) > 0)
    np.testing.assert_allclose(np.array(found["gate_others"])[:, 0], gate[0, 0], atol=0.01)
    np.testing.assert_allclose(found["gate_correlation"][0], -found["gate_correlation"][1])
    assert found["gate_correlation"][0] > 0.3


def test_gates_that_know_the_subset_correlate_with_it(dataset, body, monkeypatch):
    clips = clips_of(dataset)
    hidden = {i for i, track in enumerate(clips.tracks) if track.subset == "occlusion"}
    batches = iter(list(clips))

    def knowing(estimator, images):
        batch = next(batches)
        gate = np.array([[float(t in hidden)] for t in batch.track]).repeat(4, axis=1)
        return np.stack([gate, 0.5 - gate], -1)

    monkeypatch.setattr(measure, "time_gates", knowing)
    found = measure.gates_by_subset(estimator_of(body), clips)
    assert found["occlusion_correlation"] == pytest.approx([1, -1])
    assert found["subsets"]["occlusion"] == [1, -0.5] and found["subsets"]["plain"] == [0, 0.5]
    assert found["subsets"]["all"] == pytest.approx([9 / 25, 0.5 - 9 / 25])


@pytest.mark.parametrize("encoder, mode", [("cnn", "parallel"), ("ste", "vanilla")])
def test_networks_without_gates_have_errors_only(dataset, body, encoder, mode):
    estimator = estimator_of(body, encoder=encoder, mode=mode)
    images, labels = measure.clear_clips(clips_of(dataset), 1)
    found = measure.blanked_frame(estimator, body, images, labels, (0.0, 0.9))
    assert set(found) == {"fractions", "mpjpe", "pa_mpjpe"}
    assert not measure.has_gates(estimator.model) and jax.tree.leaves(found)
