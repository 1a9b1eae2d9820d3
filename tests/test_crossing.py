"""Two rendered people who walk past each other, found by the built-in detector."""

import numpy as np
import pytest

pytest.importorskip("pyvista")
from maed_jax.data.parallel import find_datasets
from maed_jax.inference.detect import HogDetector, iou
from maed_jax.inference.people import detect
from maed_jax.inference.track import Tracker
from maed_jax.inference.video import open_video

find_datasets()
from maed_jax.datasets.mannequins import demo_video  # noqa: E402

EVERY = 2  # frames


def test_people_who_cross_keep_their_identity(tmp_path):
    with np.load(demo_video.write_video(tmp_path / "cross.mp4", seed=7, frames=84)) as file:
        truth = file["box"][:, ::EVERY]
    side = np.sign(truth[0, :, 0] - truth[1, :, 0])
    assert side[0] == -1 and side[-1] == 1, "the one behind is covered for a while"
    detector = HogDetector()
    video = open_video(tmp_path / "cross.mp4")
    tracker = Tracker(video.fps / EVERY, detector.sure)
    for frame in video.frames():
        if frame.index % EVERY == 0:
            tracker.step(frame.index // EVERY, detect(frame, detector))
    tracks = tracker.finish(truth.shape[1])
    owners = []
    for track in tracks:
        overlap = np.array([
            [iou(box[None], truth[who, frame][None])[0, 0] for who in (0, 1)]
            for frame, box in zip(track.frames, track.boxes)
        ])  # fmt: skip
        owner = int(np.argmax(overlap.sum(0)))
        apart = np.abs(truth[0, track.frames, 0] - truth[1, track.frames, 0]) > 60
        assert (overlap[apart, owner] > overlap[apart, 1 - owner]).all()
        assert len(track.frames) > 0.8 * truth.shape[1]
        owners.append(owner)
    assert sorted(owners) == [0, 1]
