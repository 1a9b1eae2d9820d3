import numpy as np
from fake_dataset import write_fake_dataset

from maed_jax.data.records import Records
from maed_jax.data.track_labels import read_labels


def test_labels_of_a_track(tmp_path):
    def edit(i, record):
        record["frame"], record["gender"] = 3 * i, "female"
        record["keypoints_2d"][:, 2] = 0.31
        if i == 5:
            record["keypoints_2d"][25:30, 2] = 0.3  # uncertain of five limb joints
            record["pose"][4] = np.nan
        if i == 6:
            record["keypoints_2d"][31, 2] = 0
            record["keypoints_3d"][40] = np.inf
            record["keypoints_3d"][41, 3] = 0
        if i == 7:
            record["has_3d"] = False

    records = Records(write_fake_dataset(tmp_path, (4, 5), edit=edit), "train")
    labels = read_labels(records, records.tracks[1])
    assert len(labels) == 5 and (labels.gender, labels.body) == ("female", "mannequin")
    assert labels.frame.tolist() == [12, 15, 18, 21, 24]
    assert labels.step == 3 and labels.rate == 10
    assert labels.visible_limbs.tolist() == [12, 7, 11, 12, 12]
    assert labels.has_smpl.tolist() == [True, False, True, True, True]
    for name, found in (("pose", labels.pose), ("shape", labels.shape)):
        assert (found[1] == 0).all() and (found[0] == records[4][name]).all()
    assert labels.inside.tolist() == [True, True, False, True, True]
    assert (labels.keypoints_3d[2, [40, 41], 3] == 0).all() and labels.keypoints_3d[2, 39, 3] == 1
    assert not labels.keypoints_3d[3].any()
    some = labels.take(np.array([0, 2]))
    assert some.frame.tolist() == [12, 18] and some.pose.shape == (2, 72) and some.step == 6
    assert labels.take(np.arange(5)) is labels


def test_an_image_is_a_track_of_one_frame(tmp_path):
    records = Records(write_fake_dataset(tmp_path, [1]), "train")
    labels = read_labels(records, records.tracks[0])
    assert (len(labels), labels.step, labels.rate, labels.body) == (1, 1, 30, "mannequin")


def test_frames_of_one_number_are_of_some_rate(tmp_path):
    edit = lambda i, record: record.update(frame=7)  # noqa: E731
    records = Records(write_fake_dataset(tmp_path, [3], edit=edit), "train")
    assert read_labels(records, records.tracks[0]).rate == 30


def test_no_images_are_read(tmp_path, monkeypatch):
    records, read = Records(write_fake_dataset(tmp_path, [3]), "train"), []
    of_all = records.read

    def spy(index, *names):
        read.append(of_all(index, *names))
        return read[-1]

    monkeypatch.setattr(records, "read", spy)
    assert len(read_labels(records, records.tracks[0])) == len(read) == 3
    assert not any("image" in record for record in read)
