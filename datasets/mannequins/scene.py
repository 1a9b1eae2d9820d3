"""How a mannequin is seen: the camera's path and sensor, light, colours."""

from __future__ import annotations

import colorsys
import dataclasses

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from maed_jax.visual.render import Lights

# --- cameras --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Camera:
    """A camera's path; the world has y up and its floor at y = 0."""

    R_cam_world: np.ndarray
    """[frames 3 3] camera frame: x right, y down, z forward"""
    t_cam_world: np.ndarray
    """[frames 3] the world's origin in the camera frame, metres"""
    pan: np.ndarray
    """[frames] radians to the right, by how much the background moves to the left"""
    tilt: np.ndarray
    """[frames] radians downwards, of the optical axis"""
    roll: float
    """radians"""

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """Transforms points [frames n 3] from the world to the camera frame."""
        return points @ self.R_cam_world.transpose(0, 2, 1) + self.t_cam_world[:, None]


def look_at(position: np.ndarray, target: np.ndarray, roll: float = 0.0) -> Camera:
    """Returns a camera at `position` [frames 3] looking at `target` [frames 3], world frame."""
    forward = target - position
    forward = forward / np.linalg.norm(forward, axis=-1, keepdims=True)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    down = np.cross(forward, right)
    cos, sin = np.cos(roll), np.sin(roll)
    R_cam_world = np.stack([cos * right + sin * down, cos * down - sin * right, forward], axis=1)
    t_cam_world = -(R_cam_world @ position[..., None])[..., 0]
    pan = np.unwrap(np.arctan2(-forward[:, 0], -forward[:, 2])) * -1
    # When the camera moves sideways, the background some metres behind shifts too.
    pan = pan + np.einsum("fi,fi->f", position - position[:1], right) / 9
    return Camera(R_cam_world, t_cam_world, pan, np.arcsin(-forward[:, 1]), roll)


def draw_camera(rng: np.random.Generator, t_world_root: np.ndarray, fps: float) -> Camera:
    """Draws a camera for a person who moves along `t_world_root` [frames 3].

    Elevation is -10 to 35 degrees, azimuth any, distance 3 to 8 metres; some cameras orbit, most
    roll a little. For a short path the camera may stay in place and see all of it; otherwise it
    follows the person.
    """
    path = gaussian_filter1d(t_world_root, fps / 2, axis=0, mode="nearest")
    extent = np.ptp(path[:, [0, 2]], axis=0).max()
    distance = rng.uniform(3, 8)
    static = extent < 0.45 * distance - 0.6 and rng.random() < 0.7
    centre = np.broadcast_to((path.max(0) + path.min(0)) / 2, path.shape) if static else path
    seconds = np.arange(len(path)) / fps
    azimuth = rng.uniform(0, 2 * np.pi) + np.zeros(len(path))
    if rng.random() < 0.5:
        azimuth = azimuth + np.deg2rad(rng.normal(0, 9)) * seconds
    elevation = np.deg2rad(rng.uniform(-10, 35))
    offset = np.stack(
        [np.cos(elevation) * np.sin(azimuth), np.full(len(path), np.sin(elevation)),
         np.cos(elevation) * np.cos(azimuth)], axis=-1,
    )  # fmt: skip
    position = centre + distance * offset
    position[:, 1] = np.maximum(position[:, 1], 0.25)
    # The person is not always in the middle of the full view.
    shift = distance * np.tan(np.deg2rad(rng.uniform(-12, 12, 3)))
    return look_at(
        position, centre + shift * [1, 0.5, 1], np.deg2rad(np.clip(rng.normal(0, 3), -8, 8))
    )


# --- light and colours ----------------------------------------------------------------------------


def draw_lights(rng: np.random.Generator) -> Lights:
    """Draws a strong, a weak and an ambient light; directions are in the world frame (y up)."""
    azimuth = rng.uniform(0, 2 * np.pi, 2)
    height = np.array([rng.uniform(0.15, 1.4), rng.uniform(-0.4, 0.8)])
    directions = np.stack(
        [np.cos(height) * np.sin(azimuth), np.sin(height), np.cos(height) * np.cos(azimuth)], -1
    )
    tint = 1 + 0.12 * rng.normal(0, 1, (3, 1)) * np.array([[1.0, 0.1, -1.0]])
    ambient = rng.uniform(0.25, 0.65)
    strength = np.array([rng.uniform(0.25, 0.95), rng.uniform(0, 0.3)])
    colors = strength[:, None] * tint[:2]
    return Lights(directions.astype(np.float32), colors.astype(np.float32), ambient * tint[2])


def hsv(rng: np.random.Generator, hue=(0, 1), saturation=(0, 1), value=(0, 1)) -> np.ndarray:
    """Draws a colour from the given ranges: RGB in 0..255."""
    return 255 * np.array(
        colorsys.hsv_to_rgb(*(rng.uniform(*bounds) for bounds in (hue, saturation, value)))
    )


def draw_clothes(
    rng: np.random.Generator, parts: np.ndarray, names: tuple[str, ...], template: np.ndarray
) -> np.ndarray:
    """Colours a body at random.

    Args:
      parts: [verts] part of each vertex.
      names: names of the parts.
      template: [verts 3] vertices at rest.

    Returns:
      RGB in 0..255, [verts 3].
    """
    tone = rng.beta(1.2, 1.2)
    skin = (1 - tone) * np.array([240, 200, 175]) + tone * np.array([88, 56, 40])
    color = {name: hsv(rng, saturation=(0, 0.85), value=(0.1, 1)) for name in names}
    color["skin"] = skin + rng.normal(0, 6, 3)
    color["hair"] = hsv(rng, (0.02, 0.12), (0.1, 0.7), (0.05, 0.75))
    color["brows"] = 0.6 * color["hair"] + 0.2 * skin
    color["eyes"] = np.full(3, 40.0)
    color["lips"] = 0.8 * skin + [25, -5, 0]
    style = rng.random()
    if style < 0.45:
        color["sleeves"] = color["shirt"]
    elif style < 0.65:
        color["sleeves"] = color["skin"]
    if rng.random() < 0.1:
        color["trousers"] = color["shirt"]  # overalls
    if rng.random() < 0.5:
        color["shoes"] = hsv(rng, saturation=(0, 0.3), value=(0.05, 0.95))
    table = np.array([color[name] for name in names])
    out = table[parts]
    sewn = np.isin(parts, [names.index(n) for n in ("shirt", "sleeves", "trousers") if n in names])
    side, height = np.abs(template[:, 0]), template[:, 1]
    if rng.random() < 0.2:  # shorts
        cut = rng.uniform(-0.7, -0.5)
        bare = (parts == names.index("trousers")) & (height < cut)
        out[bare] = color["skin"]
        sewn &= ~bare
    if rng.random() < 0.3:  # long sleeves
        arm = (side > 0.15) & (side < 0.66) & (height > 0.1)
        out[arm], sewn[arm] = color["sleeves"], True
    pattern = rng.random()
    if pattern < 0.5:
        second_color = hsv(rng, saturation=(0, 0.8))
        axis = template @ rng.normal(0, 1, 3) if pattern < 0.12 else height + 0.3 * side
        if pattern < 0.3:
            wave = np.sin(axis * 2 * np.pi / rng.uniform(0.06, 0.2)) > rng.uniform(-0.3, 0.7)
        else:
            wave = _waves3d(rng, template, rng.uniform(10, 40)) > 0.6
        patterned = rng.random(2) < 0.7
        lower = parts == names.index("trousers")
        chosen = sewn & wave & np.where(lower, patterned[0], patterned[1])
        out[chosen] = second_color
    shade = 1 + 0.06 * _waves3d(rng, template, 12) + 0.03 * rng.normal(0, 1, len(out))
    return np.clip(out * shade[:, None], 3, 250).astype(np.float32)


KITS = {  # what everyone wears, by parts, RGB
    "team": {
        "shirt": (200, 45, 40), "sleeves": (235, 185, 60), "trousers": (45, 60, 130),
        "shoes": (240, 240, 240), "soles": (60, 60, 60), "back": (235, 235, 235),
    },
    "harlequin": {
        "shirt": (200, 45, 40), "back": (235, 235, 235), "shoes": (45, 45, 45),
        "soles": (60, 60, 60),
    },
}  # fmt: skip
LIMBS = {  # the harlequin's: above elbow or knee, and below
    "left arm": ((250, 205, 30), (255, 240, 160)),
    "right arm": ((20, 150, 70), (165, 230, 180)),
    "left leg": ((20, 150, 225), (165, 220, 250)),
    "right leg": ((140, 50, 170), (225, 170, 235)),
}
_WRIST, _ELBOW, _KNEE = 0.68, 0.43, -0.695  # of the mannequin at rest, metres


def draw_kit(
    rng: np.random.Generator,
    parts: np.ndarray,
    names: tuple[str, ...],
    template: np.ndarray,
    kit: str,
) -> np.ndarray:
    """Like `draw_clothes`, with one of the `KITS` and a white field on the back of the shirt.

    A harlequin's limbs each have their own colours, which distinguish left from right. People
    differ only in skin and hair, so a small network learns to read them within minutes.
    """
    out = draw_clothes(rng, parts, names, template)
    for name, color in KITS[kit].items():
        if name in names:
            out[parts == names.index(name)] = color
    side, height, front = np.abs(template[:, 0]), template[:, 1], template[:, 2]
    torso = parts == names.index("shirt")
    middle = np.median(front[torso & (side < 0.1)])
    field = torso & (front < middle) & (side < 0.13) & (height > 0.0) & (height < 0.28)
    out[field] = KITS[kit]["back"]
    bare = (side > 0.15) & (height > 0.1) & (parts == names.index("skin"))
    out[bare] = np.median(out[(parts == names.index("skin")) & ~bare], axis=0)  # no long sleeves
    if kit == "harlequin":
        left = template[:, 0] > 0
        arm = (parts == names.index("sleeves")) | (bare & (side < _WRIST))
        leg = parts == names.index("trousers")
        for limb, where, upper in (("arm", arm, side < _ELBOW), ("leg", leg, height > _KNEE)):
            for name, half in (("left", left), ("right", ~left)):
                above, below = LIMBS[f"{name} {limb}"]
                out[where & half & upper], out[where & half & ~upper] = above, below
    return np.clip(out * (1 + 0.03 * rng.normal(0, 1, (len(out), 1))), 3, 250).astype(np.float32)


def _waves3d(rng: np.random.Generator, points: np.ndarray, frequency: float) -> np.ndarray:
    """Returns smooth noise [n] at points [n 3]."""
    directions = rng.normal(0, frequency, (5, 3))
    return np.sin(points @ directions.T + rng.uniform(0, 6.3, 5)).sum(1) / np.sqrt(2.5)


# --- the sensor -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Sensor:
    """What a camera does to its images, equal for all frames of a track except the noise."""

    gamma: float
    gain: np.ndarray
    blur: float
    noise: float
    quality: int

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Applies it to an image, uint8 [h w 3]."""
        if self.blur > 0.2:
            image = cv2.GaussianBlur(image, (0, 0), self.blur)
        ramp = np.arange(256, dtype=np.float32)[:, None] / 255
        table = np.clip(255 * self.gain * ramp**self.gamma, 0, 255).astype(np.uint8)
        image = cv2.LUT(image, table[None])
        if self.noise > 0.5:
            grain = np.empty(image.shape, np.int16)
            cv2.setRNGSeed(int(rng.integers(2**31 - 1)))
            cv2.randn(grain, 0, self.noise)
            image = cv2.add(image, grain, dtype=cv2.CV_8U)
        return image


def draw_sensor(rng: np.random.Generator) -> Sensor:
    """Draws exposure, colour cast, blur, noise and JPEG quality."""
    return Sensor(
        gamma=float(np.exp(rng.normal(0, 0.18))),
        gain=rng.uniform(0.8, 1.15) * (1 + rng.normal(0, 0.04, 3)),
        blur=float(rng.choice([0, rng.uniform(0, 1.1)])),
        noise=float(rng.choice([0, rng.uniform(0, 9)])),
        quality=int(rng.integers(78, 96)),
    )
