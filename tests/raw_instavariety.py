"""Writes InstaVariety's TFRecords in its owner's format."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import raw_dots
from tensorboardX.record_writer import masked_crc32c  # an independent implementation
from tensorflow_datasets.proto import tf_example_pb2

BODY = (
    "rheel", "rknee", "rhip", "lhip", "lknee", "lheel", "rwrist", "relbow", "rshoulder",
    "lshoulder", "lelbow", "lwrist", "neck", "head",
)  # fmt: skip
FACE = ("nose", "leye", "reye", "lear", "rear")
FEET = ("lbigtoe", "rbigtoe", "lsmalltoe", "rsmalltoe", "lankle", "rankle")


def framed(data: bytes) -> bytes:
    """Returns the bytes of a record in a TFRecord file."""
    length = struct.pack("<Q", len(data))
    sums = [struct.pack("<I", masked_crc32c(part)) for part in (length, data)]
    return length + sums[0] + data + sums[1]


def example(**features) -> bytes:
    """Returns a serialised tf.train.Example; "__" in names stands for "/"."""
    message = tf_example_pb2.Example()
    for name, values in features.items():
        feature = message.features.feature[name.replace("__", "/")]
        values = values if isinstance(values, list) else np.ravel(values)
        if isinstance(values, list):
            feature.bytes_list.value.extend(values)
        elif values.dtype.kind == "f":
            feature.float_list.value.extend(values.tolist())
        else:
            feature.int64_list.value.extend(values.tolist())
    return message.SerializeToString()


def track(frames: int = 3, size: int = 224, training: bool = True, **changes) -> bytes:
    """Makes a track of someone walking to the right; labels are in [-1, 1] or, if not `training`,
    in pixels."""
    people = [raw_dots.person(100 + 4 * n, 60, 140) for n in range(frames)]

    def labels(names):
        found = np.zeros((frames, 3, len(names)))
        for n, joints in enumerate(people):
            for i, name in enumerate(names):
                if name in joints:
                    x, y = joints[name]
                    place = (2 * x / size - 1, 2 * y / size - 1) if training else (x, y)
                    found[n, :, i] = *place, 1
        return found

    body = labels(BODY)
    images = [raw_dots.jpeg(raw_dots.draw(joints, size, size)) for joints in people]
    features = {
        "meta__N": np.array([frames]),
        "image__encoded": images,
        "image__filenames": [b"x"] * (frames + 5),
        "image__heightwidths": np.full((frames, 2), 720),
        "image__xys": body[:, :2],
        "image__visibilities": body[:, 2].astype(int),
        "image__face_pts": labels(FACE),
        "image__toe_pts": labels(FEET),
        "mosh__shape": np.full(10, -1.0),
    }
    if training:
        features["image__phis"] = np.zeros((frames, 2048))
    features |= changes
    return example(**{name: values for name, values in features.items() if values is not None})


def write(folder: Path) -> Path:
    """Writes two training tracks and one test track, which has another size."""
    name = "insta_variety_00_copy00_hmr_noS5.ckpt-642561.tfrecord"
    write_records(folder / "train" / name, track(3), track(2))
    write_records(folder / "test" / "video_0.tfrecord", track(2, size=200, training=False))
    return folder


def write_records(path: Path, *records: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(framed, records)))
    return path
