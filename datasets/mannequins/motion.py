"""Rule-based motions: walking, running, sitting, reaching, dancing, and extreme ones.

Each is a function of a random generator, so no two tracks are alike; left and right are equally
likely. See `pose` for the meaning of the angles.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy.interpolate import CubicSpline

from . import pose as body_pose
from .key_poses import ARMS, POSES, RUN, SEATS, WALK
from .pose import INDEX, pose

EVERYDAY = ("walking", "running", "sitting", "reaching", "dancing")


@dataclasses.dataclass(frozen=True)
class Motion:
    """A body's motion, without its position in the world unless it was recorded."""

    name: str
    rotations: np.ndarray
    """[frames 24 3 3] R_world_root, then R_parent_joint; the world has y up"""
    hop: np.ndarray
    """[frames] height of the body's lowest point above the floor, metres"""
    t_world_root: np.ndarray | None = None
    """[frames 3] metres, of a recorded motion; None: derived from the feet on the floor"""
    support: np.ndarray | None = None
    """[frames 2] how much weight the left and right foot carry; None: the lower foot carries"""


def make(
    name: str,
    rng: np.random.Generator,
    frames: int,
    fps: float = 30.0,
    heading: float | None = None,
) -> Motion:
    """Draws one motion of a kind.

    Args:
      name: a key of `MOTIONS`.
      heading: mean direction (yaw), degrees; default: random, and turning.
    """
    times = np.arange(frames) / fps
    angles, hop, support = MOTIONS[name](rng, times)
    angles = angles + _habit(rng) + _liveliness(rng, times)
    angles = body_pose.limited(angles)
    if rng.random() < 0.5:
        angles = body_pose.mirrored(angles)
        support = None if support is None else support[:, ::-1]
    if heading is not None:
        yaw = angles[:, INDEX["yaw"]]
        trend = np.polyval(np.polyfit(times, yaw, min(2, frames - 1)), times)
        angles[:, INDEX["yaw"]] = yaw - trend + heading
    hop = np.broadcast_to(hop, times.shape)
    return Motion(name, body_pose.rotations(angles), hop, support=support)


# --- pieces ---------------------------------------------------------------------------------------


def _waves(
    rng: np.random.Generator, times: np.ndarray, count: int, low: float, high: float
) -> np.ndarray:
    """Returns smooth noise [frames count] of about unit variance in the band low to high, Hz."""
    rate = rng.uniform(low, high, (3, count))
    start = rng.uniform(0, 2 * np.pi, rate.shape)
    waves = np.sin(2 * np.pi * rate * times[:, None, None] + start)
    return waves.sum(1) * np.sqrt(2 / len(rate))


def _habit(rng: np.random.Generator) -> np.ndarray:
    """Draws this person's posture: a constant offset to the pose."""
    row = np.zeros(len(INDEX))
    spread = {"spine_flexion": 5, "neck_flexion": 6, "neck_twist": 5, "spine_bend": 2}
    spread |= {"collar_up": 3, "collar_forward": 4, "arm_abduction": 4, "arm_rotation": 8}
    spread |= {"forearm": 20, "hip_rotation": 5, "hip_abduction": 1.5, "elbow": 6, "wrist": 8}
    for name, size in spread.items():
        if name in INDEX:
            row[INDEX[name]] = rng.normal(0, size)
        else:
            both = rng.normal(0, size)
            for side in "lr":
                row[INDEX[f"{name}_{side}"]] = both + rng.normal(0, size / 3)
    return row


def _liveliness(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """Draws small, slow movements, larger for head and arms: [frames angles], degrees."""
    size = np.full(len(INDEX), 1.0)
    for name, i in INDEX.items():
        if name.startswith(("neck", "elbow", "arm", "wrist", "forearm")):
            size[i] = 3.5
        elif name.startswith("spine"):
            size[i] = 2.0
    size[INDEX["neck_twist"]] = rng.uniform(3, 16)
    return size * rng.uniform(0.4, 1.2) * _waves(rng, times, len(INDEX), 0.1, 0.7)


def _heading(rng: np.random.Generator, times: np.ndarray, turning: float) -> np.ndarray:
    """Draws yaw over time, degrees; turning: typical rate in degrees per second."""
    sway = rng.uniform(0, 12) * _waves(rng, times, 1, 0.05, 0.2)[:, 0]
    return rng.uniform(0, 360) + rng.normal(0, turning) * times + sway


def _ease(x: np.ndarray) -> np.ndarray:
    """Eases from 0 to 1 with zero velocity and acceleration at both ends (minimum jerk)."""
    x = np.clip(x, 0, 1)
    return x**3 * (10 - 15 * x + 6 * x**2)


def _through_key_poses(
    rng: np.random.Generator,
    times: np.ndarray,
    draw: Callable[[int], np.ndarray],
    speed: float,
    hold: tuple[float, float] = (0.0, 0.6),
) -> np.ndarray:
    """Moves through key poses: [frames angles], degrees.

    Args:
      draw: maps the number of a key pose to the pose.
      speed: typical speed of the joint that turns most, degrees per second.
      hold: range of the time for which a pose is held, seconds.
    """
    clock, number = -rng.uniform(0, 1.5), 0
    current = draw(number)
    out = np.tile(current, (len(times), 1))
    while clock < times[-1]:
        number += 1
        target = draw(number)
        change = target - current
        clock += rng.uniform(*hold)
        peak_speed = speed * rng.uniform(0.7, 1.3)
        duration = np.clip(1.9 * np.abs(change).max() / peak_speed, 0.35, 2.5)
        # Joints do not all start at once.
        delay = rng.uniform(0, 0.15, change.shape) * duration
        delay[: INDEX["spine_flexion"]] = 0
        fraction = _ease((times[:, None] - clock - delay) / (duration * 0.85))
        out += fraction * change
        clock += duration
        current = target
    return out


def _set(row: np.ndarray, side: str, **angles: float) -> np.ndarray:
    for name, value in angles.items():
        row[INDEX[f"{name}_{side}"]] = value
    return row


def _arm(rng: np.random.Generator, row: np.ndarray, side: str, free: float = 0.5) -> np.ndarray:
    """Sets one arm of a pose; free: probability of a random position instead of one of `ARMS`."""
    if rng.random() < free:
        flexion = rng.uniform(-35, 170)
        return _set(
            row, side,
            arm_flexion=flexion,
            arm_abduction=rng.uniform(0, 95) * (1 if flexion > -10 else 0.4),
            arm_rotation=rng.uniform(-55, 65),
            elbow=rng.uniform(0, 1) ** 1.3 * 130,
            collar_up=max(0.0, flexion - 80) * 0.15,
            wrist=rng.normal(0, 15), forearm=rng.normal(0, 30),
        )  # fmt: skip
    return _set(row, side, **{**ARMS[rng.integers(len(ARMS))]})


def _arms(rng: np.random.Generator, row: np.ndarray, free: float = 0.5) -> np.ndarray:
    """Sets both arms of a pose, sometimes to the same position."""
    state = rng.bit_generator.state
    _arm(rng, row, "l", free)
    if rng.random() < 0.35:
        twin = np.random.Generator(type(rng.bit_generator)())
        twin.bit_generator.state = state
        _arm(twin, row, "r", free)
    else:
        _arm(rng, row, "r", free)
    return row


# --- kinds of motion ------------------------------------------------------------------------------
# (rng, times) -> angles [frames angles] in degrees, hop [frames] in metres, support [frames 2]


def _stride(curve: tuple[tuple[float, float], ...], phase: np.ndarray) -> np.ndarray:
    """Interpolates a joint's angle (degrees) from a curve of `key_poses`; phase: radians since heel
    contact."""
    at, degrees = zip(*curve)
    spline = CubicSpline([*at, 1.0], [*degrees, degrees[0]], bc_type="periodic")
    return spline(phase / (2 * np.pi) % 1)


def _support(cycle: np.ndarray, middle: float) -> np.ndarray:
    """Returns how much weight each foot carries [frames 2]; middle: of the left foot's stance, in
    cycles."""
    both = cycle[:, None] + np.array([0, np.pi]) - 2 * np.pi * middle
    return np.maximum(np.cos(both), 0) ** 2


def walking(rng: np.random.Generator, times: np.ndarray):
    """Steps of any length, some with busy arms; turns slowly."""
    rate = rng.uniform(0.65, 1.05)  # strides per second
    size = rng.uniform(0.6, 1.15)
    out = np.tile(pose(spine_flexion=rng.uniform(0, 10)), (len(times), 1))
    cycle = 2 * np.pi * rate * times + rng.uniform(0, 2 * np.pi)
    cycle = cycle + 0.15 * _waves(rng, times, 1, 0.05, 0.3)[:, 0]
    swing = rng.uniform(8, 28) * size
    elbow = rng.uniform(8, 35)
    for side, phase, sign in (("l", cycle, 1), ("r", cycle + np.pi, -1)):
        for name, curve in WALK.items():
            out[:, INDEX[f"{name}_{side}"]] = size * _stride(curve, phase)
        out[:, INDEX[f"hip_abduction_{side}"]] = 1 + 2 * np.sin(phase)
        out[:, INDEX[f"arm_flexion_{side}"]] = 2 - swing * np.cos(phase - 0.2)
        out[:, INDEX[f"arm_abduction_{side}"]] = 8
        out[:, INDEX[f"elbow_{side}"]] = elbow - 0.4 * swing * np.cos(phase - 0.5)
        out[:, INDEX["spine_twist"]] += sign * 4 * size * np.cos(phase)
    out[:, INDEX["roll"]] += 2.5 * np.sin(cycle)
    out[:, INDEX["spine_bend"]] -= 2.5 * np.sin(cycle)
    out[:, INDEX["yaw"]] += _heading(rng, times, 18) - 4 * size * np.cos(cycle)
    if rng.random() < 0.45:  # one or both arms do something else
        busy = _through_key_poses(rng, times, lambda _: _arms(rng, pose(), 0.3), 110, (0.5, 3.0))
        for side in ("l", "r") if rng.random() < 0.5 else ("l",):
            for name in ("arm_flexion", "arm_abduction", "arm_rotation", "elbow"):
                column = INDEX[f"{name}_{side}"]
                swinging = out[:, column] - out[:, column].mean()
                out[:, column] = busy[:, column] + 0.25 * swinging
    return out, 0.0, _support(cycle, 0.3)


def running(rng: np.random.Generator, times: np.ndarray):
    """Jogging to sprinting, with both feet in the air between steps."""
    rate = rng.uniform(1.15, 1.6)
    size = rng.uniform(0.65, 1.2)
    lean = rng.uniform(4, 14)
    out = np.tile(pose(pitch=lean * 0.6, spine_flexion=lean, neck_flexion=-lean), (len(times), 1))
    cycle = 2 * np.pi * rate * times + rng.uniform(0, 2 * np.pi)
    swing = rng.uniform(25, 45) * size
    elbow = rng.uniform(65, 110)
    for side, phase, sign in (("l", cycle, 1), ("r", cycle + np.pi, -1)):
        for name, curve in RUN.items():
            out[:, INDEX[f"{name}_{side}"]] = size * _stride(curve, phase)
        out[:, INDEX[f"arm_flexion_{side}"]] = -8 - swing * np.cos(phase)
        out[:, INDEX[f"arm_abduction_{side}"]] = 12
        out[:, INDEX[f"arm_rotation_{side}"]] = -15
        out[:, INDEX[f"elbow_{side}"]] = elbow - 0.35 * swing * np.cos(phase)
        out[:, INDEX["spine_twist"]] += sign * 7 * size * np.cos(phase)
    out[:, INDEX["yaw"]] += _heading(rng, times, 25) - 7 * size * np.cos(cycle)
    # After 0.37 of each leg's cycle, both feet are off the floor for a while.
    hop = rng.uniform(0.03, 0.09) * size * np.maximum(0, np.cos(2 * (cycle - 0.87 * np.pi))) ** 2
    return out, hop, _support(cycle, 0.18)


def sitting(rng: np.random.Generator, times: np.ndarray):
    """Sits down on an invisible chair, moves around on it, stands up."""
    turn = _heading(rng, times, 4)
    seat = SEATS[rng.integers(len(SEATS))]
    offset = rng.integers(5)
    crossed = rng.random() < 0.3

    def draw(number: int) -> np.ndarray:
        kind = (number + offset) % 5
        if kind == 0:  # standing
            return _arms(rng, pose(spine_flexion=rng.uniform(0, 8)), 0.2)
        if kind in (1, 4):  # halfway
            row = pose(pitch=28, spine_flexion=30, hip_flexion=82, knee=78, ankle=16,
                       neck_flexion=-20, arm_flexion=45, arm_abduction=8, elbow=30)  # fmt: skip
            return row * rng.uniform(0.8, 1.1)
        row = pose(**seat)
        row[INDEX["spine_twist"]] = rng.normal(0, 12)
        row[INDEX["neck_twist"]] = rng.normal(0, 22)
        row[INDEX["pitch"]] += rng.normal(0, 6)
        if crossed:
            _set(row, "l", hip_flexion=105, hip_abduction=-12, knee=75)
        if rng.random() < 0.5:  # hands on the thighs
            for side in "lr":
                _set(row, side, arm_flexion=rng.uniform(18, 40), arm_abduction=6,
                     arm_rotation=rng.uniform(-40, -10), elbow=rng.uniform(40, 75))  # fmt: skip
            return row
        return _arms(rng, row, 0.35)

    out = _through_key_poses(rng, times, draw, 115, (0.2, 1.2))
    out[:, INDEX["yaw"]] += turn
    return out, 0.0, None


def reaching(rng: np.random.Generator, times: np.ndarray):
    """Stands and reaches for things high, low and all around, or talks with the hands."""
    energy = rng.uniform(0.3, 1.3)
    turn = _heading(rng, times, 12)

    def draw(_: int) -> np.ndarray:
        row = _arms(rng, pose(), 0.7)
        low = max(0.0, rng.normal(0, 0.5)) * energy
        bend = np.clip(rng.normal(8, 12) * energy + 30 * low, -12, 60)
        row += pose(spine_flexion=0.7 * bend, pitch=0.6 * bend, hip_flexion=0.6 * bend + 35 * low,
                    knee=55 * low, ankle=15 * low, neck_flexion=-0.3 * bend)  # fmt: skip
        for name, size in (("spine_twist", 18), ("spine_bend", 9), ("neck_twist", 22)):
            row[INDEX[name]] = rng.normal(0, size) * energy
        step = rng.normal(0, 14) * energy  # one foot in front of the other
        for side, sign in (("l", 1), ("r", -1)):
            row[INDEX[f"hip_flexion_{side}"]] += sign * step
            row[INDEX[f"knee_{side}"]] += max(0, sign * step) * 0.8
            row[INDEX[f"hip_abduction_{side}"]] += rng.uniform(0, 10)
        return row

    out = _through_key_poses(rng, times, draw, rng.uniform(90, 190), (0.0, 0.8))
    out[:, INDEX["yaw"]] += turn
    return out, 0.0, None


def dancing(rng: np.random.Generator, times: np.ndarray):
    """Moves every joint by sums of waves, most of them in time with a beat."""
    beat = rng.uniform(0.7, 1.15)
    size = rng.uniform(0.6, 1.15)
    spread = pose(
        pitch=4, roll=4, spine_flexion=8, spine_bend=10, spine_twist=14, neck_flexion=8,
        neck_bend=7, neck_twist=14, hip_flexion=16, hip_abduction=8, hip_rotation=9, knee=16,
        ankle=8, collar_up=6, arm_flexion=38, arm_abduction=30, arm_rotation=32, elbow=36,
        forearm=15, wrist=12,
    )  # fmt: skip
    centre = pose(
        spine_flexion=6, hip_flexion=14, hip_abduction=7, knee=24, ankle=8, arm_flexion=42,
        arm_abduction=42, arm_rotation=12, elbow=62,
    )  # fmt: skip
    row = centre + 0.5 * spread * rng.normal(0, 1, centre.shape)
    count = len(INDEX)
    multiple = rng.choice([0.5, 1.0, 1.0, 2.0], count, p=[0.4, 0.3, 0.2, 0.1])
    start = rng.uniform(0, 2 * np.pi, count)
    for name in ("hip_flexion", "knee", "arm_flexion", "arm_abduction", "elbow"):
        left, right = INDEX[f"{name}_l"], INDEX[f"{name}_r"]
        multiple[right] = multiple[left]
        start[right] = start[left] + (np.pi if rng.random() < 0.5 else 0)  # opposed or together
    on_beat = np.sin(2 * np.pi * beat * multiple * times[:, None] + start)
    slow = _waves(rng, times, count, 0.08, 0.45)
    loud = 1 + 0.35 * _waves(rng, times, 1, 0.05, 0.15)
    out = row + size * spread * (0.75 * loud * on_beat / np.sqrt(multiple) + 0.75 * slow)
    out[:, INDEX["yaw"]] += (
        _heading(rng, times, 30) + 18 * size * _waves(rng, times, 1, 0.1, 0.4)[:, 0]
    )
    for side in "lr":
        out[:, INDEX[f"knee_{side}"]] = np.maximum(out[:, INDEX[f"knee_{side}"]], 2)
    return out, 0.0, None


def extreme(rng: np.random.Generator, times: np.ndarray):
    """Goes from one hard pose to the next: squats, kicks, bends, kneels, lies, crawls."""
    kinds = list(POSES)
    favourites = rng.choice(len(kinds), 3, replace=False)
    turn = _heading(rng, times, 10)

    def draw(number: int) -> np.ndarray:
        if number % 4 == 3 and rng.random() < 0.5:
            return _arms(rng, pose(), 0.5)  # standing up
        choices = POSES[kinds[favourites[rng.integers(3)]]]
        angles = choices[rng.integers(len(choices))]
        row = pose(**angles)
        arms_free = not any(name.startswith(("arm", "elbow")) for name in angles)
        if arms_free and rng.random() < 0.8:
            _arms(rng, row, 0.6)
        row += pose(hip_flexion=rng.normal(0, 6), knee=abs(rng.normal(0, 6)))
        row *= rng.uniform(0.85, 1.05)
        row[INDEX["spine_twist"]] += rng.normal(0, 10)
        row[INDEX["neck_twist"]] += rng.normal(0, 20)
        return body_pose.mirrored(row) if rng.random() < 0.5 else row

    out = _through_key_poses(rng, times, draw, rng.uniform(100, 170), (0.1, 0.8))
    out[:, INDEX["yaw"]] += turn
    return out, 0.0, None


MOTIONS: dict[str, Callable] = {
    "walking": walking,
    "running": running,
    "sitting": sitting,
    "reaching": reaching,
    "dancing": dancing,
    "extreme": extreme,
}
