"""Motion capture: our own files are read back unchanged; errors name broken ones."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from posed_joints import joint_positions
from scipy.spatial.transform import Rotation

from maed_jax.body import skeleton
from maed_jax.body.mannequin import mannequin
from maed_jax.datasets.mannequins import mocap, motion, pose
from maed_jax.errors import UserError

REST = np.asarray(mannequin().rest_joints, np.float64)
BVH_NAMES = dict(
    enumerate(
        "Hips LeftUpLeg RightUpLeg Spine LeftLeg RightLeg Spine1 LeftFoot RightFoot Spine2 "
        "LeftToeBase RightToeBase Neck LeftShoulder RightShoulder Head LeftArm RightArm "
        "LeftForeArm RightForeArm LeftHand RightHand".split()
    )
)
ASF_NAMES = dict(
    enumerate(
        "root lfemur rfemur lowerback ltibia rtibia upperback lfoot rfoot thorax ltoes rtoes "
        "lowerneck lclavicle rclavicle head lhumerus rhumerus lradius rradius lhand rhand".split()
    )
)
# A folder with CMU's recordings, to test real ones.
SAMPLES = Path(os.environ.get("MAED_MOCAP", "mocap"))


def children(joint):
    return [j for j, parent in enumerate(skeleton.PARENTS) if parent == joint and j < 22]


def write_bvh(
    path, rotations, t_world_root, order="ZXY", fps=60, scale=100.0, turn=None, first_t=False
):
    """Writes our skeleton as a BVH file; turn: rotation [3 3] from our axes to the file's."""
    turn = np.eye(3) if turn is None else turn
    lines, columns = ["HIERARCHY"], []

    def joint(index, depth):
        pad = "\t" * depth
        parent = skeleton.PARENTS[index]
        offset = turn @ (REST[index] - (REST[parent] if parent >= 0 else REST[index])) * scale
        word = "ROOT" if parent < 0 else "JOINT"
        lines.append(f"{pad}{word} {BVH_NAMES[index]}")
        lines.append(pad + "{")
        lines.append(f"{pad}\tOFFSET {' '.join(f'{x:.6f}' for x in offset)}")
        kinds = [f"{axis}rotation" for axis in order]
        if parent < 0:
            kinds = ["Xposition", "Yposition", "Zposition", *kinds]
            columns.append(t_world_root @ turn.T * scale)
        lines.append(f"{pad}\tCHANNELS {len(kinds)} {' '.join(kinds)}")
        local = turn @ rotations[:, index] @ turn.T
        columns.append(Rotation.from_matrix(local).as_euler(order, degrees=True))
        for child in children(index):
            joint(child, depth + 1)
        if not children(index):
            lines.extend([f"{pad}\tEnd Site", pad + "\t{", f"{pad}\t\tOFFSET 0 1 0", pad + "\t}"])
        lines.append(pad + "}")

    joint(0, 0)
    table = np.concatenate(columns, axis=1)
    if first_t:
        table = np.concatenate([np.zeros((1, table.shape[1])), table])
    lines += ["MOTION", f"Frames: {len(table)}", f"Frame Time: {1 / fps:.7f}"]
    lines += [" ".join(f"{x:.5f}" for x in row) for row in table]
    path.write_text("\n".join(lines) + "\n")


def write_acclaim(folder, rotations, t_world_root, scale=20.0):
    """Writes the same as walk.asf and walk_01.amc; every bone has its own rotated axes.

    Acclaim bones begin at their joint and end at the child's, so joints with several children get
    additional bones that do not move, as in CMU's files.
    """
    lines = [
        ":version 1.10", ":name test", ":units", "  mass 1.0", "  length 0.45", "  angle deg",
        ":documentation", "  none", ":root", "  order TX TY TZ RX RY RZ", "  axis XYZ",
        "  position 0 0 0", "  orientation 0 0 0", ":bonedata",
    ]  # fmt: skip
    links, axes, rng = [], {}, np.random.default_rng(0)

    def bone(name, vector, moves=True):
        length = np.linalg.norm(vector)
        axis = rng.uniform(-90, 90, 3)
        axes[name] = Rotation.from_euler("xyz", axis, degrees=True).as_matrix()
        lines.extend(
            ["  begin", f"    name {name}",
             f"    direction {' '.join(f'{x:.9f}' for x in vector / max(length, 1e-9))}",
             f"    length {length * scale:.9f}",
             f"    axis {' '.join(f'{x:.6f}' for x in axis)} XYZ"]
            + (["    dof rx ry rz"] if moves else []) + ["  end"]
        )  # fmt: skip

    def visit(index, above):
        for child in children(index):
            link = f"to_{ASF_NAMES[child]}"
            bone(link, REST[child] - REST[index], moves=False)
            end = children(child)
            bone(ASF_NAMES[child], np.zeros(3) if end else np.array([0, 0.1, 0]))
            links.extend([(above, link), (link, ASF_NAMES[child])])
            visit(child, ASF_NAMES[child])

    visit(0, "root")
    lines += [":hierarchy", "  begin", *(f"    {a} {b}" for a, b in links), "  end"]
    (folder / "walk.asf").write_text("\n".join(lines))
    out = ["#!comment", ":FULLY-SPECIFIED", ":DEGREES"]
    for frame in range(len(rotations)):
        out.append(str(frame + 1))
        euler = Rotation.from_matrix(rotations[frame, 0]).as_euler("xyz", degrees=True)
        out.append("root " + " ".join(f"{x:.6f}" for x in [*t_world_root[frame] * scale, *euler]))
        for index, name in ASF_NAMES.items():
            if index:
                local = axes[name].T @ rotations[frame, index] @ axes[name]
                euler = Rotation.from_matrix(local).as_euler("xyz", degrees=True)
                out.append(f"{name} " + " ".join(f"{x:.6f}" for x in euler))
    (folder / "walk_01.amc").write_text("\n".join(out) + "\n")


@pytest.fixture(scope="module")
def walk():
    """Rotations [40 24 3 3], in which the hands do not move separately, and positions [40 3]."""
    walking = motion.make("walking", np.random.default_rng(5), 40, fps=60)
    walking.rotations[:, 22:] = np.eye(3)
    t_world_root = np.stack([np.linspace(0, 1, 40), np.full(40, 0.9), np.linspace(0, 2, 40)], -1)
    return walking.rotations, t_world_root


def angles_between(first, second):
    turn = first.swapaxes(-1, -2) @ second
    return np.rad2deg(np.arccos(np.clip((np.trace(turn, axis1=-2, axis2=-1) - 1) / 2, -1, 1)))


@pytest.mark.parametrize("order", ["ZXY", "XYZ", "YZX", "ZYX"])
def test_bvh_round_trip(tmp_path, walk, order):
    rotations, t_world_root = walk
    write_bvh(tmp_path / "walk.bvh", rotations, t_world_root, order)
    back, moved = mocap.retarget(mocap.read(tmp_path / "walk.bvh"), REST)
    assert angles_between(back, rotations).max() < 0.1
    np.testing.assert_allclose(moved, t_world_root - t_world_root[0], atol=1e-3)


@pytest.mark.parametrize("axes", ["xzy", "zxy", "yzx"])
def test_other_axes_and_a_calibration_frame(tmp_path, walk, axes):
    rotations, t_world_root = walk
    turn = np.eye(3)[["xyz".index(axis) for axis in axes]]
    turn *= np.linalg.det(turn)  # a rotation
    write_bvh(tmp_path / "w.bvh", rotations, t_world_root, turn=turn, first_t=True)
    back, moved = mocap.retarget(mocap.read(tmp_path / "w.bvh"), REST)
    assert len(back) == len(rotations), "the calibration frame is not part of the motion"
    assert angles_between(back, rotations).max() < 0.1
    np.testing.assert_allclose(moved, t_world_root - t_world_root[0], atol=1e-3)


def test_acclaim_round_trip(tmp_path, walk):
    rotations, t_world_root = walk
    write_acclaim(tmp_path, rotations, t_world_root)
    recording = mocap.read(tmp_path / "walk_01.amc")
    back, moved = mocap.retarget(recording, REST)
    assert angles_between(back, rotations).max() < 0.1
    np.testing.assert_allclose(moved, t_world_root - t_world_root[0], atol=1e-3)
    assert mocap.frame_count(tmp_path / "walk_01.amc") == (40, 120.0)


def test_a_skeleton_at_rest_with_other_limbs_looks_the_same(tmp_path, walk):
    """With legs spread and arms lowered at rest, the limbs still point in the same directions."""
    rotations, t_world_root = walk
    bent = pose.rotations(pose.pose(hip_abduction=20, arm_abduction=50)[None])[0]
    bent[[3, 6, 9, 12, 13, 14, 15]] = np.eye(3)
    turned, rest = rotations.copy(), REST.copy()
    for joint in range(1, 24):  # the same skeleton with another rest pose
        parent = skeleton.PARENTS[joint]
        chain = bent[parent] if parent in (1, 2, 4, 5, 7, 8, 16, 17, 18, 19, 20, 21) else np.eye(3)
        bent[joint] = chain @ bent[joint]
        rest[joint] = rest[parent] + chain @ (REST[joint] - REST[parent])
    for joint in range(1, 24):
        parent = skeleton.PARENTS[joint]
        turned[:, joint] = bent[parent] @ rotations[:, joint] @ bent[joint].T
    recording = mocap.Recording(
        Path("bent.bvh"), tuple(BVH_NAMES.values()), skeleton.PARENTS[:22], rest[:22],
        _global(turned)[:, :22], t_world_root, 60.0,
    )  # fmt: skip
    back, _ = mocap.retarget(recording, REST)
    ours = joint_positions(rotations, REST)
    theirs = joint_positions(back, REST)
    limbs = [4, 5, 7, 8, 18, 19, 20, 21]
    assert np.linalg.norm(ours - theirs, axis=-1)[:, limbs].max() < 0.02


def _global(local):
    out = [local[:, 0]]
    for joint in range(1, local.shape[1]):
        out.append(out[skeleton.PARENTS[joint]] @ local[:, joint])
    return np.stack(out, 1)


def test_names_of_other_tools():
    recording = mocap.Recording(
        Path("x.bvh"),
        ("mixamorig:Hips", "mixamorig:LeftUpLeg", "mixamorig:LeftLeg", "mixamorig:LeftFoot",
         "RightHip", "RightKnee", "RightAnkle", "LeftCollar", "LeftShoulder", "LeftElbow",
         "rclavicle", "rhumerus", "rradius"),
        (-1, *range(12)), np.zeros((13, 3)), np.zeros((1, 13, 3, 3)), np.zeros((1, 3)), 30.0,
    )  # fmt: skip
    found = mocap._match(recording)
    assert found == dict(zip((0, 1, 4, 7, 2, 5, 8, 13, 16, 18, 14, 17, 19), range(13)))


def test_resampling_keeps_the_motion(walk):
    rotations, t_world_root = walk
    out, moved = mocap.resample(rotations, t_world_root, 60, 30)
    assert len(out) == 20
    np.testing.assert_allclose(out, rotations[::2], atol=1e-9)
    np.testing.assert_allclose(moved, t_world_root[::2], atol=1e-12)
    between, _ = mocap.resample(rotations, t_world_root, 60, 90)
    assert angles_between(between[1:], between[:-1]).max() < 10


def test_load_cut_and_split(tmp_path, walk):
    rotations, t_world_root = walk
    for name in ("a", "b", "c"):
        write_bvh(tmp_path / f"{name}.bvh", rotations, t_world_root)
    loaded = mocap.load_motion(str(tmp_path / "a.bvh"), 30.0)
    assert len(loaded.rotations) == 20
    part = mocap.cut(loaded, 5, 10)
    assert part.rotations.shape == (10, 24, 3, 3) and (part.t_world_root[0, [0, 2]] == 0).all()
    pieces = mocap.split(mocap.find(tmp_path), 6, 30.0)
    assert pieces == mocap.split(mocap.find(tmp_path), 6, 30.0)
    everything = [piece for part in pieces.values() for piece in part]
    assert len(everything) == len(set(everything)) == 9
    assert all(pieces.values()) and all(start + n <= 20 for _, start, n in everything)


@pytest.mark.parametrize(
    "old, new, line, says",
    [
        ("HIERARCHY", "HIERACHY", 1, "HIERARCHY"),
        ("CHANNELS 3 Zrotation", "CHANNELS 3 Wrotation", None, "channels"),
        ("CHANNELS 3", "CHANNELS 4", None, "channels"),
        ("OFFSET 0 1 0", "OFFSET 0 one 0", None, "numbers"),
        ("Frames: 40", "Frames: 41", None, "ends too early"),
        ("Frames: 40", "Frames: 0", None, "at least"),
        ("Frame Time: 0.0166667", "Frame Time: 0", None, "at least"),
        ("MOTION", "", None, "MOTION"),
    ],
)
def test_malformed_bvh_names_file_and_line(tmp_path, walk, old, new, line, says):
    path = tmp_path / "walk.bvh"
    write_bvh(path, *walk)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=rf"walk\.bvh, line {line or '[0-9]+'}: .*{says}"):
        mocap.read(path)


def test_a_bad_row_is_named(tmp_path, walk):
    path = tmp_path / "walk.bvh"
    write_bvh(path, *walk)
    lines = path.read_text().splitlines()
    for bad in ("1 2 3", lines[-3] + " 7", lines[-3].rsplit(" ", 1)[0] + " nan"):
        path.write_text("\n".join([*lines[:-3], bad, *lines[-2:]]))
        with pytest.raises(UserError, match=rf"line {len(lines) - 2}: "):
            mocap.read(path)


@pytest.mark.parametrize(
    "file, old, new, says",
    [
        ("walk_01.amc", "lfemur", "lfemurr", "line 6.*not a bone"),
        ("walk_01.amc", "\n2\n", "\n", "line .*twice"),
        ("walk_01.amc", "\nroot ", "\nroot 1 ", "expected 6 numbers"),
        ("walk_01.amc", ":DEGREES", "\n7\n:DEGREES", "line .*missing"),
        ("walk.asf", "direction", "direction x", "numbers"),
        ("walk.asf", ":hierarchy", ":nothing", "no ASF skeleton"),
        ("walk.asf", "XYZ\n    dof", "XXZ\n    dof", "order of axes"),
        ("walk.asf", "    root to_lfemur", "    root to_nobody", "to_nobody"),
    ],
)
def test_malformed_acclaim_says_where(tmp_path, walk, file, old, new, says):
    write_acclaim(tmp_path, *walk)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))
    with pytest.raises(UserError, match=says):
        mocap.read(tmp_path / "walk_01.amc")


def test_a_bone_without_length(tmp_path, walk):
    write_acclaim(tmp_path, *walk)
    text = (tmp_path / "walk.asf").read_text()
    short = re.sub(r"(name to_lhand\n(.*\n)*? *length) .*", r"\1 0", text)
    assert short != text
    (tmp_path / "walk.asf").write_text(short)
    with pytest.raises(UserError, match="walk_01.amc: its skeleton does not fit"):
        mocap.load_motion.__wrapped__(str(tmp_path / "walk_01.amc"))


def test_other_mistakes(tmp_path, walk):
    with pytest.raises(UserError, match="no folder"):
        mocap.find(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no \.bvh"):
        mocap.find(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        mocap.read(tmp_path / "nothing.bvh")
    (tmp_path / "x_01.amc").write_text("1\nroot 0 0 0 0 0 0\n")
    with pytest.raises(UserError, match=r"put x\.asf next"):
        mocap.read(tmp_path / "x_01.amc")
    write_bvh(tmp_path / "cat.bvh", *walk)
    text = (tmp_path / "cat.bvh").read_text()
    (tmp_path / "cat.bvh").write_text(text.replace("LeftForeArm", "LeftForePaw"))
    with pytest.raises(UserError, match="no left elbow"):
        mocap.load_motion(str(tmp_path / "cat.bvh"))
    (tmp_path / "flat.bvh").write_text(text.replace("-", ""))
    with pytest.raises(UserError, match="T-pose"):
        mocap.load_motion(str(tmp_path / "flat.bvh"))


@pytest.mark.parametrize("name", ["01_01.bvh", "11_01.amc"])
def test_real_recordings(name):
    if not (SAMPLES / name).exists():
        pytest.skip("the sample recordings are not here")
    loaded = mocap.load_motion(str(SAMPLES / name), 30.0)
    where = joint_positions(loaded.rotations, REST)
    assert (where[:, 15, 1] - where[:, 0, 1]).min() > 0.3, "the head is above the pelvis"
    assert (where[:, [7, 8], 1].min(1) < -0.45).all(), "at least one foot is below it"
    knees = Rotation.from_matrix(loaded.rotations[:, 4]).as_rotvec()
    assert knees[:, 0].max() > 0.7 and knees[:, 0].min() > -0.4, "knees bend one way"
