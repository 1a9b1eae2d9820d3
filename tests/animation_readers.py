"""Readers of GLB and BVH files, independent of the writers: joint positions by frame."""

import json
import struct

import numpy as np

TYPES = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
SIZES = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Glb:
    def __init__(self, path):
        data = path.read_bytes()
        magic, version, total = struct.unpack_from("<4sII", data)
        assert (magic, version, total) == (b"glTF", 2, len(data))
        length, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON" and length % 4 == 0
        self.json = json.loads(data[20 : 20 + length])
        size, kind = struct.unpack_from("<I4s", data, 20 + length)
        assert kind == b"BIN\0" and size == self.json["buffers"][0]["byteLength"]
        self.buffer = data[28 + length :]

    def array(self, number):
        accessor = self.json["accessors"][number]
        view = self.json["bufferViews"][accessor["bufferView"]]
        dtype, width = np.dtype(TYPES[accessor["componentType"]]), SIZES[accessor["type"]]
        start = view["byteOffset"]
        assert start % dtype.itemsize == 0
        assert view["byteLength"] == accessor["count"] * width * dtype.itemsize
        values = np.frombuffer(self.buffer, dtype, accessor["count"] * width, start)
        return values if width == 1 else values.reshape(-1, width)

    def key_times(self):
        times = self.json["animations"][0]["samplers"][0]["input"]
        return self.array(times)

    def worlds(self, time, names):
        """Matrices [joints 4 4] of the named nodes of the first skeleton at `time`."""
        animation, nodes = self.json["animations"][0], self.json["nodes"]
        local = [dict(node) for node in nodes]
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            times, values = self.array(sampler["input"]), self.array(sampler["output"])
            after = int(np.clip(np.searchsorted(times, time, "right"), 1, max(1, len(times) - 1)))
            before = after - 1 if len(times) > 1 else 0
            after = min(after, len(times) - 1)
            fraction = 0.0
            if after > before:
                fraction = float(
                    np.clip((time - times[before]) / (times[after] - times[before]), 0, 1)
                )
            if sampler["interpolation"] == "STEP":
                fraction = float(fraction >= 1)
            a, b = (values[i].astype(np.float64) for i in (before, after))
            value = (1 - fraction) * a + fraction * b
            if channel["target"]["path"] == "rotation":
                value /= np.linalg.norm(value)
            local[channel["target"]["node"]][channel["target"]["path"]] = value
        above = {child: i for i, node in enumerate(nodes) for child in node.get("children", [])}

        def world(i):
            here = np.eye(4)
            here[:3, :3] = matrix(local[i].get("rotation", [0, 0, 0, 1]))
            here[:3, :3] *= local[i].get("scale", [1, 1, 1])
            here[:3, 3] = local[i].get("translation", [0, 0, 0])
            return world(above[i]) @ here if i in above else here

        joints = self.json["skins"][0]["joints"]
        assert [nodes[i]["name"] for i in joints] == list(names)
        return np.array([world(i) for i in joints])

    def verts(self, time, names):
        """The first skinned mesh [verts 3] at `time`."""
        arrays = self.json["meshes"][0]["primitives"][0]["attributes"]
        rest = self.array(arrays["POSITION"])
        to_joint = self.array(self.json["skins"][0]["inverseBindMatrices"])
        moves = self.worlds(time, names) @ to_joint.reshape(-1, 4, 4).swapaxes(1, 2)
        joints, weights = self.array(arrays["JOINTS_0"]), self.array(arrays["WEIGHTS_0"])
        blended = (weights[..., None, None] * moves[joints]).sum(axis=1)
        return np.einsum("vij,vj->vi", blended[:, :3, :3], rest) + blended[:, :3, 3]


def matrix(quaternion):
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def read_bvh(path):
    """Joint names, joint positions [frames joints 3], and the frame time."""
    lines = iter(path.read_text().split("\n"))
    assert next(lines) == "HIERARCHY"
    names, parents, offsets, channels, stack, end = [], [], [], [], [], False
    for line in lines:
        words = line.split()
        if words[0] in ("ROOT", "JOINT"):
            names.append(words[1])
            parents.append(stack[-1] if stack else -1)
        elif words[0] == "End":
            end = True
        elif words[0] == "{":
            stack.append(-1 if end else len(names) - 1)
        elif words[0] == "}":
            stack.pop()
            end = False
        elif words[0] == "OFFSET" and not end:
            offsets.append([float(word) for word in words[1:]])
        elif words[0] == "CHANNELS":
            assert int(words[1]) == len(words) - 2
            channels.append(words[2:])
        elif words[0] == "MOTION":
            break
    frames = int(next(lines).removeprefix("Frames: "))
    frame_time = float(next(lines).removeprefix("Frame Time: "))
    rows = np.array([[float(word) for word in line.split()] for line in lines if line])
    assert rows.shape == (frames, sum(map(len, channels)))
    places = np.zeros((frames, len(names), 3))
    for f, row in enumerate(rows):
        column, worlds = 0, []
        for joint, parent in enumerate(parents):
            here = np.eye(4)
            here[:3, 3] = offsets[joint]
            for channel in channels[joint]:
                value = row[column]
                column += 1
                axis = "XYZ".index(channel[0])
                if channel.endswith("position"):
                    here[axis, 3] += value
                else:
                    here[:3, :3] = here[:3, :3] @ turn(axis, np.radians(value))
            worlds.append(worlds[parent] @ here if parent >= 0 else here)
            places[f, joint] = worlds[-1][:3, 3]
    return names, places, frame_time


def turn(axis, angle):
    """Rotation about a coordinate axis."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out = np.eye(3)
    out[i, i] = out[j, j] = np.cos(angle)
    out[i, j], out[j, i] = -np.sin(angle), np.sin(angle)
    return out
