"""Pictures: JPEG bytes, crops of a person, and the numbers that the network reads.

Pixels are counted from the centre of the first one: the left column of a picture has x = 0. Images
are RGB uint8 `[h w 3]` until `normalise`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np

from maed_jax.data import jpeg
from maed_jax.errors import UserError

if TYPE_CHECKING:
    import jax

Array = TypeVar("Array", np.ndarray, "jax.Array")

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""of the names of pictures' files, whatever their case"""
MEAN = (0.485, 0.456, 0.406)  # ImageNet, RGB, of values in [0, 1]
STD = (0.229, 0.224, 0.225)
CROP_MARGIN = 1.3
"""side of a crop as a multiple of the longer side of the person's box"""
LONGEST = 32_766
"""pixels, sides of the largest picture that OpenCV makes crops of"""

_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION  # labels are of the pixels as stored
_DECODE = {
    1: _RGB,
    2: _RGB | cv2.IMREAD_REDUCED_GRAYSCALE_2,  # the flag for the size; colour is as above
    4: _RGB | cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: _RGB | cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
_REACH = 2  # pixels of a decoded picture around a crop that bear on it, by two interpolations


class ImageError(ValueError):
    """Bytes that are not a whole picture."""


def normalise(image: Array) -> Array:
    """RGB values 0 to 255 `[... 3]`, NumPy or JAX, to float32 by ImageNet's mean and deviation."""
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)
    return image.astype(np.float32) * (1 / (255 * std)) - mean / std


def network_input(clip: Array) -> Array:
    """Clips `[... 3]` as the network reads them: uint8 pixels are normalised, floats are already.

    Raises:
      UserError: they are of another type.
    """
    if clip.dtype == np.uint8:
        return normalise(clip)
    if clip.dtype.kind in "biu":
        raise UserError(
            "clips are uint8 RGB pixels, or float32 and normalised by ImageNet's mean and "
            f"deviation, not {clip.dtype}"
        )
    return clip


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """An RGB image uint8 `[h w 3]` as JPEG bytes, made to be cut (see `data.jpeg`)."""
    options = {
        cv2.IMWRITE_JPEG_QUALITY: quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        cv2.IMWRITE_JPEG_RST_INTERVAL: jpeg.restart_interval(image.shape[1]),
    }
    ok, data = cv2.imencode(".jpg", image[..., ::-1], [n for pair in options.items() for n in pair])
    if not ok:
        raise ImageError(f"cannot encode an image of shape {image.shape}")
    return data.tobytes()


def decode_picture(data: bytes) -> np.ndarray:
    """Picture bytes (JPEG, or whatever OpenCV reads) as RGB uint8 `[h w 3]`.

    A rotation noted in its EXIF part is not applied.

    Raises:
      ImageError: not a picture, or a JPEG that ends early (OpenCV would paint the rest grey).
    """
    _check_whole(data)
    return _decode(data)


def _decode(data: bytes, reduce: int = 1) -> np.ndarray:
    """reduce: 1, 2, 4 or 8: decode a JPEG at that part of its size, which is much faster."""
    pixels = np.frombuffer(data, np.uint8)
    try:
        image = cv2.imdecode(pixels, _DECODE[reduce]) if pixels.size else None
    except cv2.error:  # it claims more than 2^30 pixels
        image = None
    if image is None:
        raise ImageError(f"{len(data)} bytes that start with {data[:4]!r} are not a picture")
    return image


def _check_whole(data: bytes) -> None:
    """Raises `ImageError` for a JPEG without an end-of-image marker after the start of the scan.

    Segments before the scan are stepped over by their lengths: a thumbnail among them has an end
    marker of its own. Within the scan the two bytes cannot occur by chance.
    """
    if data[:2] != b"\xff\xd8" or data.endswith(b"\xff\xd9"):
        return
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        if data[position + 1] == 0xFF:  # a fill byte
            position += 1
            continue
        if data[position + 1] == 0xDA:  # start of scan
            if data.rfind(b"\xff\xd9", position) >= 0:
                return
            break
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    raise ImageError(f"the JPEG of {len(data)} bytes is truncated")


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


def to_whole_pixels(affine: np.ndarray, out_size: int) -> np.ndarray:
    """A map `[2 3]` to a crop that neither turns nor changes sizes by more than 1 %, as one that
    copies pixels; its middle moves by half a pixel at most. Other maps are given back.

    Crops are stored at about the size that the network takes, so that most training crops are like
    this: they come out sharper and sooner than by interpolation.
    """
    (a, b, x), (c, d, y) = affine.tolist()
    if b or c or abs(d - 1) > 0.01 or abs(a) != d:
        return affine
    sign, middle = a / d, out_size / 2
    x, y = round(middle - sign * (middle - x) / a), round(middle - (middle - y) / d)
    return np.array([[sign, 0.0, x], [0.0, 1.0, y]])


def warp(
    image: np.ndarray, affine: np.ndarray, out_size: int, out: np.ndarray | None = None
) -> np.ndarray:
    """The crop uint8 `[out_size out_size 3]` of an image: bilinear, black outside of the picture.

    `out`, where given, receives the crop.

    Raises:
      ImageError: the image is larger than OpenCV can take.
    """
    (a, b, x), (c, d, y) = affine.tolist()
    if (abs(a), b, c, d, x % 1, y % 1) == (1, 0, 0, 1, 0, 0):  # nothing to interpolate
        left, top = int(-x if a > 0 else x - out_size + 1), int(-y)
        bottom, right = max(top + out_size, 0), max(left + out_size, 0)
        part = image[max(top, 0) : bottom, max(left, 0) : right]
        if part.shape == (out_size, out_size, 3):
            out = np.empty(part.shape, np.uint8) if out is None else out
            out[:] = part if a > 0 else cv2.flip(part, 1)
            return out
    if max(image.shape) > LONGEST:
        raise ImageError(f"a side of more than {LONGEST} pixels: {image.shape[1::-1]}")
    return cv2.warpAffine(image, affine, (out_size, out_size), dst=out, flags=cv2.INTER_LINEAR)


def decode_crop(
    data: bytes, affine: np.ndarray, out_size: int, out: np.ndarray | None = None
) -> np.ndarray:
    """`warp(decode_picture(data), affine, out_size)`, decoding no more and no finer than it shows.

    A JPEG decoded at 1/2, 1/4 or 1/8 is an average over blocks of pixels, so a crop that shrinks
    the picture strongly is also smoother than a bilinear sample of the full one.
    """
    if data[:2] != b"\xff\xd8":
        return warp(decode_picture(data), affine, out_size, out)
    _check_whole(data)
    (a, b, x), (c, d, y) = affine.tolist()
    shrink = 1 / math.hypot(a, c)
    reduce = next((r for r in (8, 4, 2) if shrink >= r), 1)
    data, corner = jpeg.window(data, *_footprint(affine, out_size, _REACH * reduce))
    # Pixel i of the decoded picture has its centre at corner + reduce * (i + 1/2) - 1/2.
    u, v = (start + (reduce - 1) / 2 for start in corner)
    moved = [
        [a * reduce, b * reduce, a * u + b * v + x],
        [c * reduce, d * reduce, c * u + d * v + y],
    ]
    return warp(_decode(data, reduce), np.array(moved), out_size, out)


def _footprint(affine: np.ndarray, size: int, reach: float) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what a crop of side `size` shows and `reach` around it."""
    (a, b, x), (c, d, y) = affine.tolist()
    determinant, last = a * d - b * c, size - 1
    corners = [(u - x, v - y) for u in (0, last) for v in (0, last)]
    columns = [(d * u - b * v) / determinant for u, v in corners]
    rows = [(a * v - c * u) / determinant for u, v in corners]
    return min(columns) - reach, min(rows) - reach, max(columns) + reach, max(rows) + reach


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
