"""The pass over a split: every frame in its place, errors of known predictions, the table."""

import jax.numpy as jnp
import numpy as np
import pytest
from fake_dataset import write_fake_dataset

from maed_jax.body import smpl
from maed_jax.body.mannequin import mannequin
from maed_jax.body.rotations import matrix_from_axis_angle
from maed_jax.data.eval_clips import evaluation_clips
from maed_jax.data.records import Records
from maed_jax.errors import UserError
from maed_jax.evaluation import evaluate, scoring, table
from maed_jax.evaluation.baseline import mean_pose
from maed_jax.models.maed import Prediction

LENGTHS, SUBSETS = (11, 20, 5), ("plain", "occlusion", "plain")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    unlabelled = lambda i, record: record.update(has_smpl=i != 3)  # noqa: E731
    return write_fake_dataset(directory, LENGTHS, split="test", subsets=SUBSETS, edit=unlabelled)


@pytest.fixture(scope="module")
def body():
    """The mannequin with few vertices: enough for the joints."""
    return smpl.keypoint_body(mannequin(), h36m=True)


class Oracle:
    """Predicts the labels of the batch that is on, changed by `change(rotmat, shape)`."""

    def __init__(self, change=lambda rotmat, shape: (rotmat, shape)):
        self.change, self.labels = change, None

    def watch(self, batches):
        for batch in batches:
            self.labels = batch.labels
            yield batch

    def __call__(self, clip, vertices):
        assert clip.dtype == jnp.float32 and not vertices
        b, t = clip.shape[:2]
        pose = jnp.asarray(self.labels["pose"])
        rotmat = matrix_from_axis_angle(pose.reshape(b, t, 24, 3))
        rotmat, shape = self.change(rotmat, jnp.asarray(self.labels["shape"]))
        nothing = jnp.zeros((b, t, 49, 3))
        camera = jnp.zeros((b, t, 3))
        return Prediction(camera, pose, shape, rotmat, nothing, nothing[..., :2], None, camera)


def run(dataset, body, oracle, **options):
    clips = evaluation_clips(dataset, "test", 4, 16, stride=2, batch_size=3)
    return scoring.evaluate(oracle, clips, body, progress=oracle.watch, **options)


def test_perfect_predictions_have_no_error_and_every_frame_its_place(dataset, body):
    found = run(dataset, body, Oracle())
    rows = table.rows("model", found.scores)
    assert [(row["subset"], row["frames"]) for row in rows] == [
        ("plain", 15),  # one of the 16 has no labels
        ("occlusion", 20),
        ("all", 35),
    ]
    for row in rows:
        assert max(row[name] for name in table.COLUMNS) < 1e-3
    records = Records(dataset, "test")
    poses = np.concatenate([p["pose"] for p in found.predictions])
    for i in range(sum(LENGTHS)):
        if i == 3:
            assert np.isnan(poses[i]).all()
        else:
            np.testing.assert_allclose(poses[i], records[i]["pose"], rtol=1e-6)


def test_a_turned_body_is_wrong_until_it_is_aligned(dataset, body):
    quarter = matrix_from_axis_angle(jnp.array([0.0, np.pi / 2, 0.0]))
    oracle = Oracle(
        lambda rotmat, shape: (rotmat.at[:, :, 0].set(quarter @ rotmat[:, :, 0]), shape)
    )
    everything = table.rows("model", run(dataset, body, oracle).scores)[-1]
    assert everything["pa_mpjpe"] < 1e-2
    assert everything["mpjpe"] > 50 and everything["pve"] > 50 and everything["accel"] > 10


def test_the_mean_pose_is_scored_beside(dataset, body):
    """A constant oracle and the baseline of the same constant are one and the same."""
    rotmat, shape = mean_pose(map(Records(dataset, "test").__getitem__, range(sum(LENGTHS))))
    constant = Oracle(
        lambda r, s: (jnp.broadcast_to(rotmat, r.shape), jnp.broadcast_to(shape, s.shape))
    )
    found = run(dataset, body, constant, baseline=(rotmat, shape))
    ours, theirs = (table.rows("", s) for s in (found.scores, found.baseline))
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(
            [a[c] for c in table.COLUMNS], [b[c] for c in table.COLUMNS], rtol=1e-4
        )
        assert a["mpjpe"] > a["pa_mpjpe"] > 1
    for row in table.ratios("", ours, theirs):
        assert row["mpjpe"] == pytest.approx(1, rel=1e-4)


def test_no_labels_at_all(tmp_path, body):
    bare = write_fake_dataset(
        tmp_path, [5], split="test", edit=lambda i, record: record.update(has_smpl=False)
    )
    with pytest.raises(UserError, match="none has pose labels"):
        run(bare, body, Oracle())


def test_table_is_aligned():
    row = {"predictor": "model", "subset": "all", "frames": 1234}
    row |= dict.fromkeys(table.COLUMNS, 61.25) | {"accel": float("nan")}
    lines = table.render([[row], table.ratios("a / b", [row], [row])]).splitlines()
    assert len({len(line) for line in lines if line}) == 1
    assert lines[0].split() == ["frames", *table.COLUMNS.values()]
    assert lines[2].split()[-4:] == ["61.2", "61.2", "61.2", "-"]
    assert lines[4].split()[-4:] == ["1.00", "1.00", "1.00", "-"]


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match="there is no work directory"):
        evaluate.main(["--checkpoint", str(tmp_path / "nowhere")])
    with pytest.raises(UserError, match="holds no checkpoint"):
        evaluate.main(["--checkpoint", str(tmp_path)])
    with pytest.raises(UserError, match="cannot write"):
        evaluate.main(["--checkpoint", str(tmp_path), "--json", str(tmp_path / "no" / "file")])
