"""Predictions of a split: flip averaging, devices, order of reading and computing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from fake_dataset import write_fake_dataset
from scipy.spatial.transform import Rotation
from stub_estimator import Stub, prediction

from maed_jax.body.mannequin import mannequin
from maed_jax.body.skeleton import flip_pose
from maed_jax.data.eval_clips import evaluation_clips
from maed_jax.errors import UserError
from maed_jax.estimator import Estimator
from maed_jax.evaluation.predictions import SHAPES, constant, on_local_devices, predict


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_fake_dataset(tmp_path_factory.mktemp("data"), (9, 6), split="test")


def clips_of(dataset, size=16, batch_size=2):
    return evaluation_clips(dataset, "test", 4, size, stride=2, batch_size=batch_size, margin=1.3)


def test_flipping_averages_a_pose_and_its_mirror_image(dataset):
    """Averaging does not change an estimator whose predictions mirror with the image."""

    def mirrored(clip):
        left = np.asarray(clip[:, :, :, : clip.shape[3] // 2]).sum((2, 3, 4))
        right = np.asarray(clip[:, :, :, clip.shape[3] // 2 :]).sum((2, 3, 4))
        return (left > right)[..., None]

    rng = np.random.default_rng(0)
    pose = rng.normal(0, 0.5, 72).astype(np.float32)
    noise = rng.normal(0, 0.05, 72).astype(np.float32)

    def fair(clip, *, vertices, offset=0.0):
        is_mirrored = mirrored(clip)
        found = np.where(is_mirrored, flip_pose(pose), pose) + offset
        shape = np.zeros((*found.shape[:2], 10), np.float32)
        camera = np.where(is_mirrored, [1.0, -0.2, 0.3], [1.0, 0.2, 0.3])
        return prediction(found, shape, camera)

    clips = clips_of(dataset)
    plain, averaged = predict(fair, clips), predict(fair, clips, flip=True)
    for name in SHAPES:
        for a, b in zip(plain[name], averaged[name]):
            np.testing.assert_allclose(a, b, atol=1e-5)
    # An offset added to both poses is reduced by averaging, and rotations stay rotations.
    off = predict(lambda c, vertices: fair(c, vertices=vertices, offset=noise), clips, flip=True)
    turns = Rotation.from_matrix(off["rotmat"][0].reshape(-1, 3, 3))
    np.testing.assert_allclose(turns.as_rotvec().reshape(-1, 72), off["pose"][0], atol=1e-4)
    assert np.abs(off["pose"][0] - plain["pose"][0]).mean() < np.abs(noise).mean()


def test_the_batch_is_split_over_all_devices(dataset):
    assert jax.local_device_count() == 8
    model = tiny.TinyModel()
    variables = model.init(jax.random.key(0), jnp.zeros((1, 4, tiny.SIZE, tiny.SIZE, 3)), None)
    one = Estimator(model, variables, mannequin())
    everywhere, batch_size = on_local_devices(one, 3)
    assert batch_size == 8
    found = [
        predict(estimator, clips_of(dataset, tiny.SIZE, size))
        for estimator, size in ((one, 1), (one, 3), (everywhere, batch_size))
    ]
    for other in found[1:]:
        for name in SHAPES:
            for a, b in zip(found[0][name], other[name]):
                np.testing.assert_allclose(a, b, atol=2e-6)


def test_every_frame_has_a_prediction(dataset):
    found = predict(Stub(), clips_of(dataset))
    assert [len(pose) for pose in found["pose"]] == [9, 6]
    assert all(np.isfinite(part).all() for name in SHAPES for part in found[name])
    same = constant(np.tile(np.eye(3), (24, 1, 1)), np.ones(10), clips_of(dataset))
    assert same["rotmat"][1].shape == (6, 24, 3, 3) and (same["pose"][0] == 0).all()


def test_the_next_batch_is_put_together_before_the_last_is_waited_for(dataset):
    class Answer:
        """Logs when its values are read."""

        def __init__(self, array):
            self.array = np.asarray(array)

        def __array__(self, *args, **kwargs):
            log.append("waited")
            return self.array

    def progress(batches):
        for batch in batches:
            log.append("read")
            yield batch

    def estimator(clip, vertices):
        log.append("asked")
        answer = Stub()(clip, vertices=vertices)
        return answer.replace(camera=Answer(answer.camera))

    log = []
    clips = clips_of(dataset)
    found = predict(estimator, clips, progress=progress)
    assert log == ["read", "asked"] + ["read", "waited", "asked"] * (len(clips) - 1) + ["waited"]
    for name in SHAPES:
        for a, b in zip(found[name], predict(Stub(), clips)[name]):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("part", SHAPES)
def test_a_model_that_diverged_is_reported_by_one_frame_that_counts(dataset, part):
    clips = clips_of(dataset)

    def broken(where):
        """Returns an estimator that outputs NaN where `where(mask)` of each batch is true."""
        masks = (batch.mask for batch in clips)

        def estimator(clip, *, vertices):
            answer, wrong = Stub()(clip, vertices=vertices), where(next(masks))
            found = np.array(getattr(answer, part))
            found[wrong] = np.nan
            return answer.replace(**{part: found})

        return estimator

    def first(mask):
        return mask & (np.cumsum(mask).reshape(mask.shape) == 1)

    with pytest.raises(UserError, match="has diverged"):
        predict(broken(first), clips)
    assert not all(batch.mask.all() for batch in clips)
    assert all(np.isfinite(a).all() for a in predict(broken(np.logical_not), clips)[part])
