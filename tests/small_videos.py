"""Shared by tests of prediction: small videos, a figure that the person detector recognises, and a
matching estimator."""

from types import SimpleNamespace

import av
import cv2
import numpy as np

from maed_jax.data.images import MEAN, STD


def write_video(path, images, fps=10, codec="libx264", options=None, pix_fmt="yuv420p", aspect=1):
    """Writes uint8 [n h w 3] RGB; returns the path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.sample_aspect_ratio = aspect
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def damage(path, numbers):
    """Overwrites the packets with these numbers (in file order) with zeros."""
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for number in numbers:
        position, size = packets[number]
        data[position : position + size] = bytes(size)
    path.write_bytes(data)
    return path


def draw_figure(image, x, y, height, color=(60, 60, 90)):
    """Draws a standing figure, `height` pixels tall, centred on (x, y)."""
    parts = (
        (0, -0.43, 0.11, 0.14),
        (0, -0.18, 0.24, 0.38),
        (-0.13, -0.14, 0.07, 0.36),
        (0.13, -0.14, 0.07, 0.36),
        (-0.06, 0.22, 0.11, 0.54),
        (0.06, 0.22, 0.11, 0.54),
    )
    for dx, dy, w, h in parts:
        centre = round(x + dx * height), round(y + dy * height)
        axes = max(1, round(w * height / 2)), max(1, round(h * height / 2))
        cv2.ellipse(image, centre, axes, 0, 0, 360, color, -1, cv2.LINE_AA)


def figure_images(places, size=(240, 320), height=160):
    """Images [n] of figures at `places`: for each frame a list of (x, y)."""
    images = []
    for frame in places:
        image = np.full((*size, 3), 190, np.uint8)
        for x, y in frame:
            draw_figure(image, x, y, height)
        images.append(image)
    return images


class FakeEstimator:
    """Predicts upright people; `shape[..., 0]` is the mean brightness of the crop."""

    image_size = 32
    clip_length = 4
    margin, interval = 1.3, 8

    def __init__(self, body=None):
        self.body = body
        self.shapes = []

    def __call__(self, clips, *, vertices=True):
        self.shapes.append(clips.shape)
        b, t = clips.shape[:2]
        images = 255 * (np.asarray(clips) * STD + MEAN)
        rotmat = np.tile(np.eye(3, dtype=np.float32), (b, t, 24, 1, 1))
        rotmat[:, :, 0] = np.diag([1, -1, -1])
        pose = np.zeros((b, t, 24, 3), np.float32)
        pose[:, :, 0, 0] = np.pi
        shape = np.zeros((b, t, 10), np.float32)
        shape[..., 0] = images.mean((2, 3, 4))
        points = np.zeros((b, t, 49, 3), np.float32)
        points[..., 0] = np.linspace(-0.5, 0.5, 49)
        return SimpleNamespace(
            camera=np.tile(np.array([0.9, 0.01, -0.02], np.float32), (b, t, 1)),
            pose=pose.reshape(b, t, 72),
            shape=shape,
            rotmat=rotmat,
            keypoints_3d=points,
            keypoints_2d=points[..., :2],
            verts=None,
        )
