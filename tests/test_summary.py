"""The table printed at the end of a build."""

import json

from maed_jax.data import schema
from maed_jax.data.summary import summary


def test_tracks_frames_and_what_was_left_out(tmp_path):
    schema.write_tracks(tmp_path, "validation", [schema.Track("c", 0, 4)])
    tracks = [schema.Track("a", 0, 5, "plain"), schema.Track("b", 5, 2, "clutter")]
    schema.write_tracks(tmp_path, "train", tracks)
    lines = [line.split() for line in summary(tmp_path).splitlines()]
    assert lines[2:] == [
        ["train", "2", "7"],
        ["train", "plain", "1", "5"],
        ["train", "clutter", "1", "2"],
        ["validation", "1", "4"],
    ]
    counts = {"people": 7, "frames": 6, "with_smpl": 3, "with_3d": 0}
    counts |= {"dropped": {"no box": 12}, "mended": {"2D keypoint is not a number": 1}}
    (tmp_path / "report.json").write_text(json.dumps({"train": counts}))
    assert summary(tmp_path).splitlines()[6:] == [
        "train: 7 people in 6 images, 3 with SMPL, 0 with 3D keypoints",
        "         12 left out: no box",
        "          1 labels ignored: 2D keypoint is not a number",
    ]
