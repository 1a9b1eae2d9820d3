"""Reads and writes videos: streams upright frames, one at a time.

Only PyAV (FFmpeg's libraries) touches the file. Phones store portrait videos on their side with a
note to rotate them, variable frame rates are common, and real files are damaged in places. This
module handles all of it: its users see upright frames numbered from 0.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import heapq
import itertools
import math
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from maed_jax.errors import UserError, reason

MAX_READ_ERRORS = 100  # read errors after which the rest of a file is given up
RESTART = 0.1  # seconds by which decoding goes back where another video begins, as in ffmpeg
_FAR = 1 << 62  # ticks of a clock; more could overflow FFmpeg's numbers
# PyAV 19 no longer has this option, and reads titles in any encoding.
_ANY_METADATA = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
FAILURES = (OSError, av.error.FFmpegError)  # of writing
BEHIND = 3  # frames that may wait to be encoded
THREADS = 4  # of x264 on any machine: its output depends on their number
CLOCK = 90_000  # ticks per second in written videos; fine enough for any frame rate
_BT709 = 1  # number of BT.709 in FFmpeg's tables of primaries, transfers and matrices
_MPEG_RANGE = 1
_LENGTH = re.compile(r"(\d{1,9}):(\d\d):(\d\d(?:\.\d*)?)")  # hours, minutes, seconds
# Allowed formats, by FFmpeg's names. It knows many more, among them lists of other files (HLS,
# DASH, concat, SDP, numbered images), which it would follow wherever they lead.
_KINDS = (
    "mov,matroska,avi,asf,flv,live_flv,mpegts,mpeg,mpegvideo,m4v,h261,h263,h264,hevc,vvc,av1,obu,"
    "ivf,ogg,rm,mxf,gxf,nut,nsv,dv,wtv,vc1,dnxhd,dirac,cavsvideo,mjpeg,mjpeg_2000,yuv4mpegpipe,"
    "gif,apng,webp_pipe,jpeg_pipe,png_pipe,"
    "dhav,hxvs,ifv,iv8,luodat,mxg,"  # from surveillance cameras
    "wav,mp3,aac,flac,tty"  # without video, which users are told
)


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame of a video, still in the decoder's format."""

    index: int
    """number within the video, from 0"""
    time: float
    """seconds since the first frame"""
    damaged: bool
    """True: the file is damaged here; the image is flawed, or a copy of a neighbour's"""
    raw: av.VideoFrame = dataclasses.field(repr=False)
    size: tuple[int, int]
    """width, height of the upright image, pixels"""
    rotation: int
    """degrees counterclockwise that turn it upright: 0, 90, 180 or 270"""

    def image(self, max_side: int | None = None) -> np.ndarray:
        """Returns the upright image, uint8 [h w 3] RGB, scaled down to at most `max_side`."""
        width, height = self.size if max_side is None else fit(self.size, max_side)
        on_its_side = self.rotation in (90, 270)
        # A new one: copies of a frame share theirs, which two threads must not use at once.
        scaled = VideoReformatter().reformat(
            self.raw,
            width=height if on_its_side else width,
            height=width if on_its_side else height,
            format="rgb24",
            interpolation="AREA",
        )
        return np.ascontiguousarray(np.rot90(scaled.to_ndarray(), self.rotation // 90))


@dataclasses.dataclass(frozen=True)
class Video:
    """A video file that has been opened once and found to contain images."""

    path: Path
    size: tuple[int, int]
    """width, height of the upright image, pixels"""
    fps: float
    """average frame rate, frames per second"""
    announced: int
    """number of frames that the file claims to show, or an estimate; 0: unknown"""
    rotation: int
    """degrees counterclockwise that turn the stored images upright"""

    def frames(self) -> Iterator[Frame]:
        """Yields every frame in display order.

        A frame that cannot be decoded is yielded as a `damaged` copy of the frame before it (those
        before the first good frame are copies of that), so that frame numbers and times never
        shift. A timestamp like that of the frame before says nothing: the frame is one later.
        """
        with _open(self.path) as container:
            stream = _video_stream(container, self.path)
            stream.thread_type = "AUTO"
            tick = float(stream.time_base or 0)
            start = before = None
            time, index, last, waiting = 0.0, 0, None, []
            for pts, raw in _decoded_frames(container, stream):
                start = pts if start is None else start
                if pts is None or pts == before:
                    time += 1 / self.fps if index else 0
                else:
                    time = max(time, (pts - start) * tick)
                before = pts
                source, damaged = (last, True) if raw is None else (raw, raw.is_corrupt)
                if source is None:
                    waiting.append((index, time))
                else:
                    for early_index, early_time in waiting:
                        yield self._frame(early_index, early_time, True, source)
                    waiting, last = [], source
                    yield self._frame(index, time, damaged, source)
                index += 1

    def _frame(self, index: int, time: float, damaged: bool, raw: av.VideoFrame) -> Frame:
        return Frame(index, time, damaged, raw, self.size, self.rotation)


def no_progress(frames: Iterator, total: int) -> Iterator:
    """Stands in for a progress bar over `total` frames (0: unknown)."""
    return frames


def fit(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Returns width and height scaled down (never up) so that no side exceeds `max_side`."""
    scale = min(1.0, max_side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def open_video(path: str | Path) -> Video:
    """Opens a video and decodes a frame to check that it can be read.

    Raises:
      UserError: there is no such file, or it is no video, or nothing in it can be decoded.
    """
    path = Path(path)
    with _open(path) as container:
        stream = _video_stream(container, path)
        raw = next((raw for _, raw in _decoded_frames(container, stream) if raw is not None), None)
        if raw is None:
            raise UserError(f"{path} contains no frame that can be decoded; is the file damaged?")
        rotation = round(raw.rotation / 90) * 90 % 360
        aspect = stream.sample_aspect_ratio or Fraction(1)
        size = (max(1, round(raw.width * aspect)), raw.height)  # square pixels
        rate = stream.average_rate
        if not stream.frames:  # Matroska: no count, and at most a nominal rate
            measured = _measured_rate(path)
            if measured and not (rate and abs(measured / float(rate) - 1) < 0.01):
                rate = measured
        rate = rate or stream.guessed_rate
        fps = float(rate) if rate and 0 < rate <= 1000 else 25.0
        return Video(
            path=path,
            size=size if rotation in (0, 180) else size[::-1],
            fps=fps,
            announced=_announced_frames(container, stream, fps),
            rotation=rotation,
        )


def _announced_frames(container, stream, fps: float) -> int:
    """Returns the number of frames that the file claims to show; 0: unknown."""
    seconds = 0.0
    if stream.duration:
        seconds = float(stream.duration * stream.time_base)
    elif length := _LENGTH.match(stream.metadata.get("DURATION", "")):  # in Matroska
        hours, minutes, rest = map(float, length.groups())
        seconds = 3600 * hours + 60 * minutes + rest
    elif container.duration:  # of its longest stream
        seconds = container.duration / av.time_base
    frames, shown = max(0, stream.frames), max(0, round(seconds * fps))
    # Of the frames in a file that was cut without encoding it again, some are not shown.
    return min(frames, shown) if frames and shown else max(frames, shown)


def _measured_rate(path: Path) -> float | None:
    """Returns frames per second from the packets' times: for browser recordings, for which FFmpeg
    guesses the clock's rate, and for irregular frames. None if there are no times."""
    with _open(path) as container:
        stream = _video_stream(container, path)
        try:
            times = [packet.dts for packet in container.demux(stream) if packet.dts is not None]
        except FAILURES:
            return None
        steps = [after - before for before, after in itertools.pairwise(times) if after > before]
        return len(steps) / float(sum(steps) * stream.time_base) if steps else None


@contextlib.contextmanager
def _open(path: Path):
    if not path.exists():
        raise UserError(f"there is no video {path}")
    if path.is_dir():
        raise UserError(f"{path} is a directory, not a video")
    try:
        if path.is_file() and path.stat().st_size == 0:
            raise UserError(f"{path} is empty (0 bytes)")
        # without "file:", a colon in the name would mark a protocol
        container = av.open(f"file:{path}", options={"format_whitelist": _KINDS}, **_ANY_METADATA)
    except PermissionError:
        raise UserError(f"{path} cannot be read: permission denied") from None
    except (av.error.FFmpegError, OSError, ValueError):
        raise UserError(
            f"{path} cannot be read as a video: it is cut short, damaged, not a video at all, or "
            "in a format that is not supported"
        ) from None
    with container:
        yield container


def _video_stream(container, path: Path):
    cover = av.stream.Disposition.attached_pic  # a music file's cover is not a video
    tile = av.stream.Disposition.dependent  # FFmpeg shows each tile of a HEIC image as a stream
    streams = container.streams.video
    if container.format.name != "tty":  # FFmpeg would draw the letters of a text file
        for stream in streams:
            if not stream.disposition & (cover | tile) and stream.codec_context is not None:
                return stream
    if any(stream.disposition & tile for stream in streams):
        raise UserError(f"{path} is a HEIC image, which cannot be read: convert it to JPEG")
    raise UserError(f"{path} contains no video: only sound, text or data")


def _decoded_frames(container, stream) -> Iterator[tuple[int | None, av.VideoFrame | None]]:
    """Yields decoded frames with their timestamps in display order; None for a lost frame.

    The decoder works on several packets at once and reports failures late, so a failure only says
    that some frame is missing; the timestamps that went in but never came out say which.
    """
    sent: list[int] = []  # heap of timestamps whose frames have not come out yet
    failures = 0
    for packet in _on_one_clock(_packets(container, stream)):
        if packet is not None and packet.pts is not None and not packet.is_discard:
            heapq.heappush(sent, packet.pts)
        try:
            decoded = stream.decode(packet)
        except av.error.EOFError:
            continue
        except (av.error.FFmpegError, ValueError):
            failures += 1
            continue
        for raw in decoded:
            if raw.pts is None:  # raw streams have no clock: insert lost frames here
                yield from [(None, None)] * failures
                failures = 0
            while raw.pts is not None and sent and sent[0] <= raw.pts:
                pts = heapq.heappop(sent)
                # without a failure, these were never meant to be shown (VP8 has such packets)
                if pts < raw.pts and failures:
                    failures -= 1
                    yield pts, None
            yield raw.pts, raw
    for pts in sorted(sent)[:failures]:
        yield pts, None


def _packets(container, stream) -> Iterator[av.Packet | None]:
    """Yields the stream's packets, then None (to flush the decoder); skips read errors."""
    errors = 0
    while errors < MAX_READ_ERRORS:
        try:
            for packet in container.demux(stream):
                if packet.dts is None and not packet.size:  # PyAV's end marker
                    break
                yield packet
            break
        except (av.error.FFmpegError, ValueError):
            errors += 1
    yield None


def _on_one_clock(packets: Iterator[av.Packet | None]) -> Iterator[av.Packet | None]:
    """Moves timestamps where videos were joined and the clock restarts, so that it goes on."""
    shift, end, last = 0, 0, -math.inf
    for packet in packets:
        if packet is not None and packet.pts is not None and packet.dts is not None:
            if not packet.is_discard:
                if float((last - packet.dts) * packet.time_base) >= RESTART:
                    shift = end - packet.pts
                last = packet.dts
            packet.pts, packet.dts = (
                min(max(ticks + shift, -_FAR), _FAR) for ticks in (packet.pts, packet.dts)
            )
            end = max(end, packet.pts + (packet.duration or 0))
        yield packet


class VideoWriter:
    """Writes an H.264 MP4 that browsers play; frames keep their times.

    Frames are encoded in a thread, which is at most `BEHIND` frames late.

    Use as a context manager. The file appears under its name when the block ends without an error;
    until then it is `<name>.part`, which an error removes. An odd last row or column is cut off,
    because the format requires even sizes.

    Raises:
      UserError: the file cannot be written.
    """

    def __init__(self, path: str | Path, fps: float):
        self._path = Path(path)
        self._part = self._path.with_name(self._path.name + ".part")
        self._fps = Fraction(fps).limit_denominator(1001)
        self._container = self._stream = None
        self._encoder = ThreadPoolExecutor(1)
        self._waiting: collections.deque[Future[None]] = collections.deque()
        self._last = -1

    def __enter__(self) -> VideoWriter:
        try:
            self._part.touch()  # FFmpeg itself would only open the file at the first frame
            # faststart moves the index to the front, so that a browser can play while loading
            self._container = av.open(
                f"file:{self._part}", "w", format="mp4", options={"movflags": "+faststart"}
            )
        except OSError as error:
            raise UserError(f"{self._path} cannot be written: {reason(error)}") from None
        return self

    def write(self, image: np.ndarray, time: float) -> None:
        """Adds a frame, uint8 [h w 3] RGB, shown from `time` (seconds) on."""
        height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
        if not height or not width:
            raise UserError(
                f"{self._path} cannot be written: a video needs at least 2 x 2 pixels, and these "
                f"images have {image.shape[1]} x {image.shape[0]}"
            )
        if self._stream is None:
            self._stream = self._new_stream(width, height)
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(image[:height, :width]), format="rgb24"
        )
        self._last = frame.pts = max(self._last + 1, round(time * CLOCK))
        frame.time_base = Fraction(1, CLOCK)
        self._waiting.append(self._encoder.submit(self._encode, frame))
        self._await(BEHIND)

    def _await(self, behind: int) -> None:
        """Waits until at most `behind` frames are waiting to be encoded."""
        while len(self._waiting) > behind:
            self._waiting.popleft().result()

    def _encode(self, frame: av.VideoFrame) -> None:
        frame = frame.reformat(
            format="yuv420p", dst_colorspace="ITU709", dst_color_range=_MPEG_RANGE
        )
        try:
            self._container.mux(self._stream.encode(frame))
        except FAILURES as error:  # the disk is full, or frames are a day apart
            raise UserError(f"{self._path} cannot be written: {reason(error)}") from None

    def _new_stream(self, width: int, height: int):
        stream = self._container.add_stream(
            "libx264", rate=self._fps, options={"crf": "20", "preset": "veryfast"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, CLOCK)
        context = stream.codec_context
        context.thread_count = THREADS
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _MPEG_RANGE
        return stream

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None:
                self._await(0)
        except BaseException as failure:
            kind = type(failure)
            raise
        finally:
            self._encoder.shutdown(cancel_futures=True)
            self._close(failed=kind is not None)

    def _close(self, failed: bool) -> None:
        complete = self._stream is not None and not failed
        try:
            if complete:
                self._container.mux(self._stream.encode())
            self._container.close()
            if complete:
                self._part.replace(self._path)
        except FAILURES as failure:
            if not failed:
                raise UserError(f"{self._path} cannot be written: {reason(failure)}") from None
        finally:
            self._part.unlink(missing_ok=True)
