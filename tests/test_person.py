"""A dataset's person becomes a record: image, transformed numbers, what is left out."""

import numpy as np
import pytest
from raw_toy import person, random_image

from maed_jax.data import schema
from maed_jax.data.images import decode_image, encode_jpeg
from maed_jax.datasets.person import MAX_CROP, PersonTrack, Recorder, crop


def record_of(someone, crops=True) -> dict | None:
    recorder = Recorder("test", crops)
    (found,) = [*recorder.records(PersonTrack("t", [someone])), None][:1]
    return found


def dropped(someone) -> dict:
    recorder = Recorder("test", True)
    assert not list(recorder.records(PersonTrack("t", [someone])))
    return dict(recorder.dropped)


def spot(height, width, x, y, spread):
    """Makes a black image with a bright spot around x, y."""
    rows, columns = np.mgrid[:height, :width]
    values = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * spread**2))
    return np.repeat(np.rint(values).astype(np.uint8)[..., None], 3, 2)


def centroid(image):
    weights = image[..., 0].astype(float) ** 2
    return [
        np.average(index, weights=weights) for index in np.mgrid[: len(image), : image.shape[1]]
    ][::-1]


BOXES = [(300, 220, 200, 330), (120, 90, 60, 50), (500, 50, 399, 41), (310, 170, 500, 861),
         (320, 200, 300, 1600)]  # fmt: skip


@pytest.mark.parametrize("box", BOXES)
def test_points_stay_on_what_they_show(box):
    x, y = box[0] + 0.2 * box[2], max(60, box[1] - 0.3 * box[3])
    points = np.zeros((49, 3))
    points[30] = x, y, 1
    focal = np.array([900.0, 910, 310, 200])
    record = record_of(
        person(spot(480, 640, x, y, 12), keypoints_2d=points, box=np.array(box), intrinsics=focal)
    )
    image = decode_image(record["image"])
    assert image.shape[:2] == tuple(record["image_size"]) and max(image.shape) <= MAX_CROP
    np.testing.assert_allclose(record["keypoints_2d"][30, :2], centroid(image), atol=0.15)
    zoom = record["box"][2] / box[2]
    np.testing.assert_allclose(record["box"][:2], image.shape[1] / 2, atol=1.0)
    np.testing.assert_allclose(image.shape[1], zoom * 2 * max(box[2:]), rtol=0.02)
    np.testing.assert_allclose(record["box"][3], zoom * box[3], rtol=1e-6)
    assert zoom <= 1
    # The camera's ray hits the same spot.
    fx, fy, cx, cy = record["intrinsics"]
    ray = (x - focal[2]) / focal[0], (y - focal[3]) / focal[1]
    seen = ray[0] * fx + cx, ray[1] * fy + cy
    np.testing.assert_allclose(seen, record["keypoints_2d"][30, :2], atol=1e-3)


def test_small_people_keep_their_pixels():
    image = random_image(3, 100, 120)
    cut, zoom, corner = crop(image, np.array([10.0, 50, 20, 30]))
    assert zoom == 1 and cut.shape == (60, 60, 3)
    left, top = -corner.astype(int)
    assert (left, top) == (-20, 20)
    np.testing.assert_array_equal(cut[:, 20:], image[20:80, :40])
    assert not cut[:, :20].any(), "black outside the image"


def test_records_are_of_the_schema():
    spatial = np.ones((49, 4))
    spatial[3] = np.nan
    someone = person(random_image(0), keypoints_3d=spatial, gender="female", valid=False, frame=7)
    recorder = Recorder("test", crops=False)
    (record,) = recorder.records(PersonTrack("name", [someone]))
    assert set(record) == {*schema.ARRAYS, *schema.STRINGS, schema.IMAGE}
    for name, (shape, kind) in schema.ARRAYS.items():
        assert record[name].shape == shape and record[name].dtype == kind
    assert record["has_3d"] and not record["has_smpl"] and not record["valid"]
    assert not record["keypoints_3d"][3].any() and record["keypoints_3d"][4].all()
    assert recorder.mended == {"3D keypoint is not a number": 1}
    assert (record["gender"], record["track"], record["frame"]) == ("female", "name", 7)
    np.testing.assert_allclose(decode_image(record["image"]).astype(int), random_image(0), atol=40)


def test_labels_that_are_not_numbers():
    points = person(b"").keypoints_2d.copy()
    points[25, 0] = np.nan
    pose = np.full(72, np.nan)
    someone = person(random_image(0), keypoints_2d=points, pose=pose, shape=np.zeros(10))
    record = record_of(someone)
    assert not record["keypoints_2d"][25].any() and record["keypoints_2d"][26, 2] == 0.5
    assert not record["has_smpl"] and not record["pose"].any()
    points[:, 2] = 0
    assert dropped(person(random_image(0), keypoints_2d=points)) == {"no visible keypoints": 1}
    labelled = person(random_image(0), keypoints_2d=points, pose=np.zeros(72), shape=np.zeros(10))
    assert record_of(labelled)["has_smpl"], "3D labels alone suffice"


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"box": np.array([3, 3, 0, 5])}, "no box"),
        ({"box": np.array([3, np.nan, 4, 5])}, "no box"),
        ({"box": np.array([-20, 10, 30, 30])}, "outside the image"),
        ({"box": np.array([30, 100, 30, 30])}, "outside the image"),
        ({"box": np.array([30, 30, 3e6, 30])}, "box much larger than the image"),
        ({"image": b""}, "unreadable image"),
        ({"image": encode_jpeg(random_image(0))[:-100]}, "unreadable image"),
    ],
)
def test_reasons(change, reason):
    values = {"image": random_image(0)} | change
    assert dropped(person(values.pop("image"), **values)) == {reason: 1}


def test_a_reader_that_is_wrong_is_reported():
    for wrong in (
        {"keypoints_2d": np.zeros((17, 3))},
        {"box": np.zeros(3)},
        {"pose": np.zeros(72)},
        {"pose": np.zeros(69), "shape": np.zeros(10)},
    ):
        with pytest.raises(ValueError, match="shape"):
            record_of(person(random_image(0), **wrong))
    backwards = PersonTrack("t", [person(random_image(0), 3), person(random_image(0), 3)])
    with pytest.raises(ValueError, match="frame 3 after 3"):
        list(Recorder("test", True).records(backwards))


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((40, 60), np.uint8), np.zeros((40, 60, 4), np.uint8), np.zeros((40, 60, 3))],
)
def test_arrays_that_are_not_rgb_are_reported(wrong):
    """As JPEGs, a grey image would be mirrored, and one with alpha would have other colours."""
    with pytest.raises(ValueError, match=r"image of a person is .* not RGB uint8 \[h w 3\]"):
        record_of(person(wrong))


def test_images_are_counted_once(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encode_jpeg(random_image(0)))
    recorder = Recorder("test", True)
    for someone in (person(path), person(path), person(random_image(0)), person(random_image(0))):
        list(recorder.records(PersonTrack("t", [someone])))
    assert recorder.images == 3
