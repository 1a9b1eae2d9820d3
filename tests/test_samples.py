import numpy as np
import pytest
from fake_dataset import UNCHANGED, write_fake_dataset

from maed_jax.data import augment, images, samples
from maed_jax.data.augment import Augment, Changes
from maed_jax.data.records import Records
from maed_jax.data.windows import reflect, window_starts
from maed_jax.errors import UserError

LENGTHS = [40, 3, 1]


def damage(index, record):
    if index == 2:
        record["keypoints_2d"][5] = np.nan
        record["keypoints_3d"][6, 0] = np.inf
        record["pose"][0] = np.nan
    elif index == 3:
        record["has_3d"] = False
    elif index == 4:
        record["body"] = "smpl"
    elif index in (5, 6):
        record["keypoints_3d"][samples.HIPS[index - 5]] = np.nan
    elif index == 41:
        record["image"] = record["image"][:-50]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    path = write_fake_dataset(tmp_path_factory.mktemp("data"), LENGTHS, edit=damage)
    return Records(path, "train")


def test_a_clip_has_the_promised_arrays(records):
    sample = samples.load(records, np.arange(8, 12), 32, Changes())
    shapes = {name: (value.shape, value.dtype) for name, value in sample.items()}
    f32 = np.float32
    assert shapes == {
        "image": ((4, 32, 32, 3), np.uint8),
        "keypoints_2d": ((4, 49, 3), f32),
        "keypoints_3d": ((4, 49, 4), f32),
        "pose": ((4, 72), f32),
        "shape": ((4, 10), f32),
        "has_smpl": ((4,), f32),
        "has_3d": ((), f32),
    }


def test_an_unchanged_clip_is_what_was_recorded(records):
    sample = samples.load(records, np.array([9, 8]), 32, Changes())
    for row, index in enumerate((9, 8)):
        record = records[index]
        np.testing.assert_array_equal(sample["pose"][row], record["pose"])
        np.testing.assert_array_equal(sample["keypoints_3d"][row], record["keypoints_3d"])
        affine = images.crop_affine(record["box"], 32)
        crop = images.warp(images.decode_image(record["image"]), affine, 32)
        np.testing.assert_array_equal(sample["image"][row], crop)
        side = 1.3 * record["box"][2:].max()
        expected = (record["keypoints_2d"][:, :2] - record["box"][:2]) * 2 / side
        np.testing.assert_allclose(sample["keypoints_2d"][row, :, :2], expected, atol=1e-5)
        np.testing.assert_array_equal(
            sample["keypoints_2d"][row, :, 2], record["keypoints_2d"][:, 2]
        )


def test_labels_that_are_not_there_are_zero_and_say_so(records):
    sample = samples.load(records, np.array([2, 3, 4]), 16, Changes(), body="mannequin")
    assert all(np.isfinite(value).all() for value in sample.values())
    assert sample["keypoints_2d"][0, 5, 2] == 0 and sample["keypoints_3d"][0, 6, 3] == 0
    np.testing.assert_array_equal(sample["has_smpl"], [0, 1, 0])  # not finite, good, other body
    assert not sample["keypoints_3d"][1, :, 3].any() and sample["keypoints_3d"][2, :, 3].any()
    assert sample["has_3d"] == 1
    assert samples.load(records, np.array([3]), 16, Changes())["has_3d"] == 0
    assert samples.load(records, np.array([4]), 16, Changes())["has_smpl"] == [1]


@pytest.mark.parametrize("index", [5, 6])
def test_3d_labels_without_both_hips_are_none(records, index):
    """3D keypoints without hips have nothing to be centred on."""
    sample = samples.load(records, np.array([index]), 32, Changes())
    assert sample["has_3d"] == 0 and (sample["keypoints_3d"][..., 3] == 0).all()
    sample = samples.load(records, np.array([index, 9]), 32, Changes())
    assert sample["has_3d"] == 1 and (sample["keypoints_3d"][0, :, 3] == 0).all()
    np.testing.assert_array_equal(sample["keypoints_3d"][1], records[9]["keypoints_3d"])


def test_erased_keypoints_lose_their_confidence_on_demand(records):
    changes = Changes(erased=(("left", 0.6),), hide_keypoints=True)
    indices = np.arange(8, 10)
    hidden = samples.load(records, indices, 32, changes)
    plain = samples.load(records, indices, 32, Changes(erased=changes.erased))
    np.testing.assert_array_equal(hidden["image"], plain["image"])
    lost = (hidden["keypoints_2d"] != plain["keypoints_2d"])[..., 2]
    assert lost.any() and (plain["keypoints_2d"][lost][:, 0] < 0.2).all()


def test_windows_are_enumerated_over_all_tracks(records):
    clips = samples.Clips(records, clip_length=4, interval=3, stride=5)
    expected = [
        track.start + reflect(start + np.arange(12), track.length)
        for track in records.tracks
        for start in window_starts(track.length, 12, 5)
    ]
    np.testing.assert_array_equal([clips[i] for i in range(len(clips))], expected)
    singles = samples.Images(records, every=5)
    assert [int(singles[i][0]) for i in range(len(singles))] == list(range(0, 44, 5))


def test_clips_take_every_kth_frame_from_a_random_start(records):
    loader = samples.Loader(samples.Clips(records, 4, 3), 16, UNCHANGED)
    starts = set()
    for seed in range(20):
        sample = loader(1, np.random.default_rng(seed))
        window = reflect(6 + np.arange(12), 40)
        start = next(
            s for s in range(3) if np.array_equal(sample["pose"][0], records[window[s]]["pose"])
        )
        expected = [records[i]["pose"] for i in window[start::3][:4]]
        np.testing.assert_array_equal(sample["pose"], expected)
        starts.add(start)
    assert starts == {0, 1, 2}


def test_frames_of_a_clip_share_their_changes(records):
    """A clip that repeats one frame repeats one image."""
    loader = samples.Loader(samples.Clips(records, 4, 3), 16, Augment(rotation=30, erase=1.0))
    last = len(loader.source) - 1  # of the track with a single frame
    for seed in range(5):
        sample = loader(last, np.random.default_rng(seed))
        for name in ("image", "keypoints_2d", "keypoints_3d", "pose"):
            assert (sample[name] == sample[name][:1]).all(), name


def test_an_unreadable_sample_is_replaced_and_counted(records, caplog):
    loader = samples.Loader(samples.Images(records, 1), 16, UNCHANGED)
    with pytest.raises(images.ImageError, match="train 41, track1 frame 1: .*truncated"):
        samples.load(records, [41], 16, Changes())
    sample = loader(41, np.random.default_rng(0))
    assert sample["replaced"] == 1 and "track1 frame 1" in caplog.text
    assert sample["image"].any()
    assert loader(40, np.random.default_rng(0))["replaced"] == 0


def test_nothing_readable_is_an_error(tmp_path):
    def spoil(index, record):
        record["image"] = b"nothing"

    records = Records(write_fake_dataset(tmp_path, [3], edit=spoil), "train")
    loader = samples.Loader(samples.Images(records, 1), 16, Augment())
    with pytest.raises(UserError, match="rebuild the dataset"):
        loader(0, np.random.default_rng(0))


def test_labels_follow_crops_that_become_copies(tmp_path):
    """The keypoint is at the image's white pixel."""

    def mark(index, record):
        record["box"][:] = [20.3, 24.4, 20, 24.6]  # a crop of 32 pixels
        image = np.zeros((48, 40, 3), np.uint8)
        image[24:32, 16:24] = 255
        record["image"] = images.encode_jpeg(image)
        record["keypoints_2d"][0] = [19.5, 27.5, 1]

    records = Records(write_fake_dataset(tmp_path, [1], edit=mark), "train")
    for flip in (False, True):
        sample = samples.load(records, [0], 32, Changes(flip=flip))
        crop = sample["image"][0].astype(float).mean(-1)
        rows, columns = np.mgrid[:32, :32]
        found = [(crop * grid).sum() / crop.sum() for grid in (columns, rows)]
        expected = (sample["keypoints_2d"][0, 0, :2] + 1) * 16
        np.testing.assert_allclose(found, expected, atol=0.05)


def test_image_and_labels_are_changed_alike(records):
    """Flip, rotation and crop move the image's brightest spot to where the labels are."""
    changes = Changes(scale=1.1, rotation=0.3, shift=(0.05, -0.02), flip=True)
    record = records[8]
    affine = augment.affine(changes, record["box"], 64)
    sample = samples.load(records, [8], 64, changes)
    np.testing.assert_array_equal(
        sample["image"][0], images.warp(images.decode_image(record["image"]), affine, 64)
    )
    moved = augment.keypoints_2d(record["keypoints_2d"], changes, affine)
    np.testing.assert_allclose(
        sample["keypoints_2d"][0], images.normalise_keypoints(moved, 64), atol=1e-5
    )
