"""Backgrounds behind a mannequin and occluders in front of it.

The background is a panorama, a flat image over directions (radians to the right, radians down). It
moves with the camera like distant objects, which is cheap and consistent within a track.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from maed_jax.data.pixels import project

from .scene import Camera, hsv

# --- backgrounds ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Panorama:
    """An image over directions; beyond its borders, it continues with its mirror image."""

    image: np.ndarray
    """uint8 [h w 3]"""
    density: float
    """pixels per radian"""
    horizon: float
    """row of the image at eye level"""
    middle: float = 0.0
    """the camera's pan at which it sees the middle of the image, radians"""

    def view(self, camera: Camera, frame: int, intrinsics: np.ndarray, size: tuple[int, int]):
        """Returns a camera's view of it: uint8 [h w 3]; intrinsics: of the view, size: (h, w)."""
        matrix = view_matrix(camera, frame, intrinsics, self.density)
        matrix[0, 2] += self.image.shape[1] / 2 - self.density * (self.middle % (2 * np.pi))
        matrix[1, 2] += self.horizon
        return cv2.warpAffine(
            self.image, matrix, size[::-1], borderMode=cv2.BORDER_REFLECT,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )  # fmt: skip


def view_matrix(camera: Camera, frame: int, intrinsics: np.ndarray, density: float) -> np.ndarray:
    """Returns the map [2 3] from pixels to `density` times (radians to the right, radians down)."""
    fx, fy, cx, cy = intrinsics
    cos, sin = np.cos(camera.roll), np.sin(camera.roll)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([density / fx, density / fy])
    offset = density * np.array([camera.pan[frame] % (2 * np.pi), camera.tilt[frame]])
    return np.concatenate([linear, (offset - linear @ [cx, cy])[:, None]], axis=1)


def _texture(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Draws a plain or patterned surface: float32 [h w 3]."""
    first = hsv(rng, saturation=(0, 0.7), value=(0.1, 1))
    second = np.clip(first + rng.normal(0, 60, 3), 0, 255)
    kind = rng.integers(6)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    if kind == 0:
        blend = np.zeros((h, w), np.float32)
    elif kind == 1:
        blend = along / max(h, w)
    elif kind == 2:
        blend = np.float32(np.sin(along * 2 * np.pi / rng.uniform(5, 60)) > rng.uniform(-0.5, 0.8))
    elif kind == 3:
        step = rng.uniform(5, 40)
        blend = np.float32((np.floor(x / step) + np.floor(y / step)) % 2)
    else:
        grain = int(rng.integers(2, 40))
        coarse = rng.random((h // grain + 2, w // grain + 2)).astype(np.float32)
        blend = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
        blend = np.float32(blend > 0.5) if kind == 5 else blend
    return (first + blend[..., None] * (second - first)).astype(np.float32)


def _noise(rng: np.random.Generator, h: int, w: int, grain: int) -> np.ndarray:
    coarse = rng.normal(0, 1, (h // grain + 2, w // grain + 2)).astype(np.float32)
    return cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)[..., None]


def _floor(rng: np.random.Generator, image: np.ndarray, horizon: int, edge: int, density: float):
    """Paints the floor, in perspective, from row `edge` down."""
    h, w = image.shape[:2]
    texture = _texture(rng, 256, 256)
    rows = np.arange(edge, h)
    depth = 1.5 / np.tan((rows - horizon + 0.5) / density)
    lateral = np.tan((np.arange(w) - w / 2) / density * 0.999)
    turn = rng.uniform(0, np.pi / 2)
    x = lateral[None] * depth[:, None]
    z = np.broadcast_to(depth[:, None], x.shape)
    scale = rng.uniform(25, 110)  # texture pixels per metre
    u = (np.cos(turn) * x - np.sin(turn) * z) * scale
    v = (np.sin(turn) * x + np.cos(turn) * z) * scale
    u, v = (np.abs(axis % 510 - 255) for axis in (u, v))  # back and forth, without seams
    ground = cv2.remap(texture, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)
    fade = np.clip(depth / 14, 0, 1)[:, None, None] ** 1.5
    image[edge:] = ground * (1 - fade) + ground.mean((0, 1)) * fade


def _paint_object(rng: np.random.Generator, image: np.ndarray, floor_row: float | None) -> None:
    """Paints one textured rectangle, ellipse, limb, polygon or bundle of lines."""
    h, w = image.shape[:2]
    size = np.exp(rng.uniform(np.log(0.02), np.log(0.35), 2)) * h
    size[1] *= rng.uniform(0.7, 2.2)
    x, y = rng.uniform(0, w), rng.uniform(-0.05, 1.0) * h
    if floor_row is not None:
        y = floor_row + rng.uniform(0, 0.1) * h - size[1]
    left, top = int(max(x - size[0], 0)), int(max(y - size[1], 0))
    right, bottom = int(min(x + size[0], w)), int(min(y + size[1], h))
    if right - left < 3 or bottom - top < 3:
        return
    patch = image[top:bottom, left:right]
    ph, pw = patch.shape[:2]
    mask = np.zeros((ph, pw), np.uint8)
    kind = rng.random()
    if kind < 0.45:
        mask[:] = 255
    elif kind < 0.6:
        cv2.ellipse(mask, (pw // 2, ph // 2), (pw // 2, ph // 2), 0, 0, 360, 255, -1)
    elif kind < 0.72:  # limbs
        start, end = (rng.uniform(0.1, 0.9, 2) * [pw, ph] for _ in range(2))
        thick = max(2, int(0.25 * min(ph, pw)))
        cv2.line(mask, start.astype(int).tolist(), end.astype(int).tolist(), 255, thick)
    elif kind < 0.88:
        corners = (rng.random((int(rng.integers(3, 7)), 2)) * [pw, ph]).astype(np.int32)
        cv2.fillConvexPoly(mask, cv2.convexHull(corners), 255)
    else:
        for _ in range(int(rng.integers(2, 9))):
            start, end = (rng.random(2) * [pw, ph] for _ in range(2))
            cv2.line(mask, start.astype(int).tolist(), end.astype(int).tolist(), 255,
                     int(rng.integers(1, 4)))  # fmt: skip
    alpha = mask[..., None].astype(np.float32) / 255 * rng.uniform(0.6, 1)
    patch += alpha * (_texture(rng, ph, pw) * rng.uniform(0.7, 1.05) - patch)


WIDTH = 2.6  # of a panorama, radians
# Fewest and most objects in it.
CLUTTER = {"plain": (0, 4), "normal": (6, 35), "clutter": (60, 130)}


def draw_panorama(
    rng: np.random.Generator,
    level: str = "normal",
    density: float = 300,
    blur: float | None = None,
    width: float = WIDTH,
    middle: float = 0.0,
) -> Panorama:
    """Draws a room or an open place with objects in it.

    Args:
      level: a key of `CLUTTER`.
      density: pixels per radian.
      blur: pixels; default: random.
      width: radians; a view sees at most 1, and a narrower panorama takes less time.
      middle: see `Panorama`.
    """
    h, w = int(1.7 * density), int(width * density)
    horizon = int(h * 0.42)
    edge = horizon + int(density * np.arctan(1.5 / rng.uniform(3.5, 25)))
    top, bottom = (hsv(rng, saturation=(0, 0.6), value=(0.15, 1)) for _ in range(2))
    image = np.linspace(0, 1, h, dtype=np.float32)[:, None, None]
    image = np.repeat((top + image * (bottom - top)).astype(np.float32), w, axis=1)
    if rng.random() < 0.3:
        image = 0.6 * image + 0.4 * _texture(rng, h, w)
    _floor(rng, image, horizon, edge, density)
    for grain, strength in ((int(0.4 * density), 14), (int(0.06 * density), 6)):
        image += rng.uniform(0, strength) * _noise(rng, h, w, grain)
    fewest, most = CLUTTER[level]
    count = round(int(rng.integers(fewest, most + 1)) * width / WIDTH)
    for number in range(count):
        _paint_object(rng, image, edge if rng.random() < 0.35 else None)
        if number == count // 2 and rng.random() < 0.6:  # farther objects are less sharp
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.8, 3))
    blur = rng.choice([0, rng.uniform(0.3, 3)]) if blur is None else blur
    if blur > 0:
        image = cv2.GaussianBlur(image, (0, 0), float(blur))
    image += rng.uniform(0, 6) * rng.normal(0, 1, image.shape).astype(np.float32)
    image = np.clip(image * rng.uniform(0.6, 1.1), 0, 255).astype(np.uint8)
    return Panorama(image, density, horizon, middle)


def floor_shadow(
    view: np.ndarray, camera: Camera, frame: int, intrinsics: np.ndarray, spots: np.ndarray,
    darkness: float,
) -> None:  # fmt: skip
    """Darkens the floor in `view` under points of a body [n 3] (world frame), in place."""
    circle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ring = np.stack([np.cos(circle), 0 * circle, np.sin(circle)], axis=-1)
    mask = np.zeros(view.shape[:2], np.float32)
    for x, y, z in spots:
        world = np.array([x, 0, z]) + ring * (0.14 + 0.1 * max(y, 0))
        points = world @ camera.R_cam_world[frame].T + camera.t_cam_world[frame]
        if points[:, 2].min() < 0.2:
            continue
        pixels = project(points, intrinsics)
        cv2.fillConvexPoly(mask, np.clip(pixels, -9999, 9999).astype(np.int32), 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), 0.02 * len(view) + 0.5)
    view[:] = (view * (1 - darkness * mask[..., None])).astype(np.uint8)


# --- things in front ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Occluder:
    """A flat object between camera and person; its size scales with the person's in the image."""

    rgb: np.ndarray
    """uint8 [h w 3]"""
    alpha: np.ndarray
    """float32 [h w] in 0..1"""
    center: np.ndarray
    """[frames 2] x, y, relative to the side of the stored image (0 to 1 is inside)"""
    extent: tuple[float, float]
    """width and height, relative to the side of the stored image"""

    def cover(self, image: np.ndarray, frame: int) -> np.ndarray:
        """Paints it over an image in place; returns its coverage, float32 [h w] in 0..1."""
        h, w = image.shape[:2]
        sx, sy = self.extent[0] * w / self.rgb.shape[1], self.extent[1] * h / self.rgb.shape[0]
        corner = self.center[frame] * [w, h] - np.array(self.extent) * [w, h] / 2
        matrix = np.array([[sx, 0, corner[0]], [0, sy, corner[1]]])
        rgb = cv2.warpAffine(self.rgb, matrix, (w, h))
        alpha = cv2.warpAffine(self.alpha, matrix, (w, h))
        opacity = alpha[..., None]
        image[:] = (image * (1 - opacity) + rgb * opacity + 0.5).astype(np.uint8)
        return alpha


def draw_occluder(rng: np.random.Generator, crop: np.ndarray) -> Occluder:
    """Draws a post, a box, foliage or a ragged object that hides part of the person.

    Most stay in place in the full view while the person moves on; some drift.

    Args:
      crop: [frames 3] the stored image in the full view: centre x, y and side (any unit).
    """
    h = w = 96
    rgb = _texture(rng, h, w) * rng.uniform(0.5, 1.05)
    rgb += rng.uniform(0, 14) * _noise(rng, h, w, int(rng.integers(3, 30)))
    alpha = np.zeros((h, w), np.float32)
    kind = rng.choice(["post", "box", "foliage", "ragged"])
    if kind == "post":
        extent = (rng.uniform(0.07, 0.2), 2.5)
        alpha[:, 1:-1] = 1
        middle = np.array([rng.uniform(0.3, 0.7), 0.5])
    elif kind == "box":
        extent = (rng.uniform(0.25, 0.9), rng.uniform(0.2, 0.5))
        alpha[1:-1, 1:-1] = 1
        middle = np.array([rng.uniform(0.3, 0.7), rng.uniform(0.6, 0.85)])
    else:
        extent = tuple(rng.uniform(0.2, 0.5, 2))
        leaf = kind == "foliage"
        for _ in range(int(rng.integers(25, 70)) if leaf else int(rng.integers(2, 6))):
            where = (rng.uniform(0.15, 0.85, 2) * [w, h]).astype(int).tolist()
            axes = rng.uniform(*((3, 11) if leaf else (12, 34)), 2).astype(int).tolist()
            cv2.ellipse(alpha, where, axes, rng.uniform(0, 180), 0, 360, 1.0, -1)
            if leaf:
                shade = hsv(rng, (0.18, 0.42), (0.3, 0.9), (0.15, 0.8)).tolist()
                cv2.ellipse(rgb, where, axes, rng.uniform(0, 180), 0, 360, shade, -1)
        middle = rng.uniform(0.25, 0.75, 2)
    alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.5, 2))
    anchor = crop[rng.integers(len(crop))]
    fixed = anchor[:2] + (middle - 0.5) * anchor[2]
    moving = (fixed - crop[:, :2]) / crop[:, 2:] + 0.5
    # A person who walks far would soon leave it behind; in that case it mostly moves along.
    reach = np.ptp(moving, axis=0).max()
    fraction = 1.0 if reach < 1 else 1 / reach
    drift = rng.normal(0, 0.1, 2) * np.sin(np.linspace(0, rng.uniform(1, 6), len(crop)))[:, None]
    center = fraction * moving + (1 - fraction) * middle + (drift if rng.random() < 0.6 else 0)
    return Occluder(np.clip(rgb, 0, 255).astype(np.uint8), alpha, center, extent)
