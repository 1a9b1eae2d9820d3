"""Pictures: JPEG bytes, crops of a person, and the numbers that the network reads.

Pixels are counted from the centre of the first one: the left column of a picture has x = 0. Images
are RGB uint8 `[h w 3]` until `normalise`.
"""

from __future__ import annotations

import cv2
import numpy as np

MEAN = (0.485, 0.456, 0.406)  # ImageNet, RGB, of values in [0, 1]
STD = (0.229, 0.224, 0.225)
CROP_MARGIN = 1.3
"""side of a crop as a multiple of the longer side of the person's box"""

_DECODE = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # labels are of the pixels as stored
_DECODE_REDUCED = {
    1: _DECODE,
    2: cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION,
    4: cv2.IMREAD_REDUCED_COLOR_4 | cv2.IMREAD_IGNORE_ORIENTATION,
    8: cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION,
}


class ImageError(ValueError):
    """Bytes that are not a whole picture."""


def normalise(image):
    """RGB values 0 to 255 `[... 3]`, NumPy or JAX, to float32 by ImageNet's mean and deviation."""
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)
    return image.astype(np.float32) * (1 / (255 * std)) - mean / std


def denormalise(image: np.ndarray) -> np.ndarray:
    """The inverse of `normalise`: float `[... 3]` to uint8, clipped."""
    values = (np.asarray(image) * np.array(STD) + np.array(MEAN)) * 255
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """An RGB image uint8 `[h w 3]` as JPEG bytes."""
    ok, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ImageError(f"cannot encode an image of shape {image.shape}")
    return data.tobytes()


def decode_jpeg(data: bytes, reduce: int = 1) -> np.ndarray:
    """Picture bytes (JPEG, or whatever OpenCV reads) as RGB uint8 `[h w 3]`.

    Args:
      data: the file's content. A rotation noted in its EXIF part is not applied.
      reduce: 1, 2, 4 or 8: decode a JPEG at that fraction of its size, which is much faster.

    Raises:
      ImageError: not a picture, or a JPEG that ends early (OpenCV would paint the rest grey).
    """
    if data[:2] == b"\xff\xd8" and not _jpeg_is_whole(data):
        raise ImageError(f"the JPEG of {len(data)} bytes is truncated")
    pixels = np.frombuffer(data, np.uint8)
    image = cv2.imdecode(pixels, _DECODE_REDUCED[reduce]) if pixels.size else None
    if image is None:
        raise ImageError(f"{len(data)} bytes that start with {data[:4]!r} are not a picture")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _jpeg_is_whole(data: bytes) -> bool:
    """Whether the end-of-image marker follows the start of the scan.

    Segments before the scan are stepped over by their lengths: a thumbnail among them has an end
    marker of its own. Within the scan the two bytes cannot occur by chance.
    """
    if data.endswith(b"\xff\xd9"):
        return True
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        if data[position + 1] == 0xFF:  # a fill byte
            position += 1
            continue
        if data[position + 1] == 0xDA:  # start of scan
            return data.rfind(b"\xff\xd9", position) >= 0
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False


def crop_affine(
    box: np.ndarray,
    out_size: int,
    scale: float = CROP_MARGIN,
    rotation: float = 0.0,
    shift: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """The affine map `[2 3]` (float64) from pixels of a picture to pixels of a square crop.

    Args:
      box: centre x, centre y, width, height of the person, pixels.
      out_size: side of the crop, pixels.
      scale: side of the crop's window in the picture, in longer sides of the box.
      rotation: radians; a positive one turns the person counter-clockwise as seen.
      shift: of the window to the right and down, in longer sides of the box.
    """
    cx, cy, width, height = (float(value) for value in box)
    side = max(width, height, 1.0)  # a box without a size must not divide by zero
    zoom = out_size / (side * scale)
    cos, sin = zoom * np.cos(rotation), zoom * np.sin(rotation)
    x, y = cx + shift[0] * side, cy + shift[1] * side
    half = out_size / 2
    return np.array([[cos, sin, half - cos * x - sin * y], [-sin, cos, half + sin * x - cos * y]])


def mirror_affine(affine: np.ndarray, out_size: int) -> np.ndarray:
    """`affine` followed by a horizontal flip of the crop (column j becomes out_size - 1 - j)."""
    mirrored = affine.copy()
    mirrored[0] *= -1
    mirrored[0, 2] += out_size - 1
    return mirrored


def warp(image: np.ndarray, affine: np.ndarray, out_size: int, out: np.ndarray | None = None):
    """The crop uint8 `[out_size out_size 3]` of an image: bilinear, black outside of the picture.

    `out`, where given, receives the crop.
    """
    return cv2.warpAffine(image, affine, (out_size, out_size), dst=out, flags=cv2.INTER_LINEAR)


def decode_crop(
    data: bytes, affine: np.ndarray, out_size: int, out: np.ndarray | None = None
) -> np.ndarray:
    """`warp(decode_jpeg(data), affine, out_size)`, decoding no finer than the crop can show.

    A JPEG decoded at 1/2, 1/4 or 1/8 is an average over blocks of pixels, so a crop that shrinks
    the picture strongly is also smoother than a bilinear sample of the full one.
    """
    shrink = 1 / np.hypot(affine[0, 0], affine[1, 0])
    reduce = next((r for r in (8, 4, 2) if shrink >= r), 1) if data[:2] == b"\xff\xd8" else 1
    if reduce > 1:  # pixel i of the reduced picture has its centre at reduce * (i + 1/2) - 1/2
        offset = affine[:, :2].sum(1) * (reduce - 1) / 2 + affine[:, 2]
        affine = np.c_[affine[:, :2] * reduce, offset]
    return warp(decode_jpeg(data, reduce), affine, out_size, out)


def transform_keypoints(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Maps x and y of `points` `[... n c]` by `affine` `[... 2 3]`; further channels are kept."""
    moved = np.array(points, copy=True)
    linear, offset = affine[..., :2], affine[..., None, :, 2]
    moved[..., :2] = points[..., :2] @ linear.swapaxes(-1, -2) + offset
    return moved


def normalise_keypoints(points: np.ndarray, size: int) -> np.ndarray:
    """Pixels of a crop of side `size` to [-1, 1]: 2 x / size - 1; further channels are kept."""
    normalised = np.array(points, copy=True)
    normalised[..., :2] = 2 * points[..., :2] / size - 1
    return normalised
