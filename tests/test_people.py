import numpy as np
import pytest

from maed_jax.inference import people
from maed_jax.inference.track import Track


@pytest.mark.parametrize("fps", [30, 15])
def test_smoothing_follows_the_person_and_not_the_noise(fps):
    time = np.arange(0, 4, 1 / fps)
    boxes = np.stack([100 + 20 * np.sin(time), 0 * time + 50, 0 * time + 40, 0 * time + 80], -1)
    track = Track(1, np.arange(len(time)), boxes, np.ones(len(time), bool), np.ones(len(time)))
    smooth = people.smoothed(track, fps).boxes
    assert smooth.dtype == np.float32 and smooth.shape == boxes.shape
    middle = len(time) // 2
    assert smooth[middle, 0] == pytest.approx(100 + 20 * np.sin(2.0), abs=1.5)
    noisy = Track(1, track.frames, boxes + np.random.default_rng(0).normal(0, 3, boxes.shape),
                  track.detected, track.scores)  # fmt: skip
    jitter = np.diff(people.smoothed(noisy, fps).boxes[:, 1], n=2).std()
    assert jitter < 0.5


def test_gaps_between_runs_are_not_smoothed_over():
    frames = np.r_[0:20, 100:120]
    boxes = np.tile([[50.0, 50, 40, 80]], (40, 1))
    boxes[20:, 0] = 300
    track = Track(1, frames, boxes, np.ones(40, bool), np.ones(40))
    np.testing.assert_allclose(people.smoothed(track, 30).boxes, boxes, rtol=1e-5)
