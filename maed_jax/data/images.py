"""Images: JPEG bytes, crops of a person, and the network's normalised input.

Pixel coordinates are 0 at the centre of the first pixel: the left column of an image has x = 0.
Images are RGB uint8 `[h w 3]` until `normalise`.
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
"""file name extensions of images, in upper or lower case"""
MEAN = (0.485, 0.456, 0.406)  # ImageNet, RGB, of values in [0, 1]
STD = (0.229, 0.224, 0.225)
CROP_MARGIN = 1.3
"""side of a crop as a multiple of the longer side of the person's box"""
MAX_SIDE = 32_766
"""longest side of an image that OpenCV can crop, pixels"""

_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION  # labels refer to pixels as stored
_DECODE = {
    1: _RGB,
    2: _RGB | cv2.IMREAD_REDUCED_GRAYSCALE_2,  # this flag sets the size; colour is as above
    4: _RGB | cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: _RGB | cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
_REACH = 2  # decoded pixels around a crop that affect it through two interpolations


class ImageError(ValueError):
    """Bytes that are not a complete image."""


def normalise(image: Array) -> Array:
    """Normalises RGB values 0 to 255 `[... 3]`, NumPy or JAX, by ImageNet's mean and standard
    deviation; returns float32."""
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)
    return image.astype(np.float32) * (1 / (255 * std)) - mean / std


def network_input(clip: Array) -> Array:
    """Converts clips `[... 3]` to the network's input: normalises uint8, returns floats unchanged.

    Raises:
      UserError: they have another type, or not three channels.
    """
    if clip.shape[-1:] != (3,):
        raise UserError(f"the model takes clips [b t h w 3], not an array {list(clip.shape)}")
    if clip.dtype == np.uint8:
        return normalise(clip)
    if clip.dtype.kind in "biu":
        raise UserError(
            "clips must be uint8 RGB pixels, or float32 normalised by ImageNet's mean and standard "
            f"deviation, not {clip.dtype}"
        )
    return clip


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """Encodes an RGB image, uint8 `[h w 3]`, as a JPEG that can be cut (see `data.jpeg`).

    Raises:
      ImageError: it is another array, or too large for a JPEG.
    """
    if image.dtype != np.uint8 or image.shape[2:] != (3,):
        raise ImageError(f"cannot encode an image of {image.dtype} {image.shape}")
    options = {
        cv2.IMWRITE_JPEG_QUALITY: quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        cv2.IMWRITE_JPEG_RST_INTERVAL: jpeg.restart_interval(image.shape[1]),
    }
    ok, data = cv2.imencode(".jpg", image[..., ::-1], [n for pair in options.items() for n in pair])
    if not ok:
        raise ImageError(f"cannot encode an image of shape {image.shape}")
    return data.tobytes()


def decode_image(data: bytes) -> np.ndarray:
    """Decodes image bytes (JPEG, or whatever OpenCV reads) to RGB uint8 `[h w 3]`.

    A rotation in the EXIF data is not applied.

    Raises:
      ImageError: not an image, or a truncated JPEG (OpenCV would fill the rest with grey).
    """
    _check_whole(data)
    return _decode(data)


def _decode(data: bytes, reduce: int = 1) -> np.ndarray:
    """Decodes an image, a JPEG at 1/`reduce` (1, 2, 4 or 8) of its size, which is much faster."""
    pixels = np.frombuffer(data, np.uint8)
    try:
        image = cv2.imdecode(pixels, _DECODE[reduce]) if pixels.size else None
    except cv2.error:  # it claims more than 2^30 pixels
        image = None
    if image is None:
        raise ImageError(f"{len(data)} bytes that start with {data[:4]!r} are not an image")
    return image


def _check_whole(data: bytes) -> None:
    """Raises `ImageError` for a JPEG without an end-of-image marker after the start of the scan.

    Segments before the scan are skipped by their lengths: a thumbnail among them has its own end
    marker. Within the scan the two bytes cannot occur by chance.
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
    """Returns the affine map `[2 3]` (float64) from pixels of an image to pixels of a square crop.

    Args:
      box: centre x, centre y, width, height of the person, pixels.
      out_size: side of the crop, pixels.
      scale: side of the crop's window in the image, as a multiple of the box's longer side.
      rotation: radians; positive rotates the person counter-clockwise as seen.
      shift: of the window to the right and down, relative to the box's longer side.
    """
    cx, cy, width, height = (float(value) for value in box)
    side = max(width, height, 1.0)  # avoids division by zero for a box without a size
    zoom = out_size / (side * scale)
    cos, sin = zoom * np.cos(rotation), zoom * np.sin(rotation)
    x, y = cx + shift[0] * side, cy + shift[1] * side
    half = out_size / 2
    return np.array([[cos, sin, half - cos * x - sin * y], [-sin, cos, half + sin * x - cos * y]])


def mirror_affine(affine: np.ndarray, out_size: int) -> np.ndarray:
    """Appends a horizontal flip of the crop to `affine` (column j becomes out_size - 1 - j)."""
    mirrored = affine.copy()
    mirrored[0] *= -1
    mirrored[0, 2] += out_size - 1
    return mirrored


def to_whole_pixels(affine: np.ndarray, out_size: int) -> np.ndarray:
    """Rounds a map `[2 3]` to one that copies pixels, if it does not rotate and scales by at most
    1 %; the crop's centre moves by at most half a pixel. Other maps are returned unchanged.

    Crops are stored at about the network's input size, so most training crops are like this:
    copying is faster than interpolation and gives sharper images.
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
    """Returns the crop, uint8 `[out_size out_size 3]`, of an image: bilinear, black outside of it.

    The crop is written to `out` if given.

    Raises:
      ImageError: the image is too large for OpenCV.
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
    if max(image.shape) > MAX_SIDE:
        raise ImageError(f"a side of more than {MAX_SIDE} pixels: {image.shape[1::-1]}")
    return cv2.warpAffine(image, affine, (out_size, out_size), dst=out, flags=cv2.INTER_LINEAR)


def decode_crop(
    data: bytes, affine: np.ndarray, out_size: int, out: np.ndarray | None = None
) -> np.ndarray:
    """Like `warp(decode_image(data), affine, out_size)`, but decodes only the area and the
    resolution that the crop needs.

    A JPEG decoded at 1/2, 1/4 or 1/8 is an average over blocks of pixels, so a crop that shrinks
    the image strongly is also smoother than a bilinear sample of the full image.
    """
    if data[:2] != b"\xff\xd8":
        return warp(decode_image(data), affine, out_size, out)
    _check_whole(data)
    (a, b, x), (c, d, y) = affine.tolist()
    shrink = 1 / math.hypot(a, c)
    reduce = next((r for r in (8, 4, 2) if shrink >= r), 1)
    data, corner = jpeg.window(data, *_footprint(affine, out_size, _REACH * reduce))
    # Pixel i of the decoded image has its centre at corner + reduce * (i + 1/2) - 1/2.
    u, v = (start + (reduce - 1) / 2 for start in corner)
    moved = [
        [a * reduce, b * reduce, a * u + b * v + x],
        [c * reduce, d * reduce, c * u + d * v + y],
    ]
    return warp(_decode(data, reduce), np.array(moved), out_size, out)


def _footprint(affine: np.ndarray, size: int, reach: float) -> tuple[float, float, float, float]:
    """Returns left, top, right, bottom of the area a crop of side `size` shows, plus `reach`."""
    (a, b, x), (c, d, y) = affine.tolist()
    determinant, last = a * d - b * c, size - 1
    corners = [(u - x, v - y) for u in (0, last) for v in (0, last)]
    columns = [(d * u - b * v) / determinant for u, v in corners]
    rows = [(a * v - c * u) / determinant for u, v in corners]
    return min(columns) - reach, min(rows) - reach, max(columns) + reach, max(rows) + reach


def transform_keypoints(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Maps x and y of `points` `[... n c]` by `affine` `[... 2 3]`; other channels stay."""
    moved = np.array(points, copy=True)
    linear, offset = affine[..., :2], affine[..., None, :, 2]
    moved[..., :2] = points[..., :2] @ linear.swapaxes(-1, -2) + offset
    return moved


def normalise_keypoints(points: np.ndarray, size: int) -> np.ndarray:
    """Maps pixels of a crop of side `size` to [-1, 1] by 2 x / size - 1; other channels stay."""
    normalised = np.array(points, copy=True)
    normalised[..., :2] = 2 * points[..., :2] / size - 1
    return normalised
