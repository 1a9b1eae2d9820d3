import struct
import wave
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from small_videos import damage, figure_images, write_video

from maed_jax.errors import UserError
from maed_jax.inference.video import (
    VideoWriter,
    _announced_frames,
    _decoded_frames,
    _measured_rate,
    _on_one_clock,
    _video_stream,
    fit,
    open_video,
)


def numbered(count, size=(48, 64)):
    """Grey images of increasing brightness, with a red upper left corner."""
    images = np.zeros((count, *size, 3), np.uint8)
    images += np.linspace(20, 220, count).astype(np.uint8)[:, None, None, None]
    images[:, : size[0] // 2, : size[1] // 2] = (255, 0, 0)
    return images


def brightness(frame):
    image = frame.image()
    return image[-image.shape[0] // 4 :, -image.shape[1] // 4 :].mean()


def test_every_frame_in_order_with_its_time(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(25), fps=Fraction(30000, 1001))
    video = open_video(path)
    frames = list(video.frames())
    assert video.size == (64, 48) and video.announced == 25
    assert video.fps == pytest.approx(29.97, abs=0.01)
    assert [frame.index for frame in frames] == list(range(25))
    np.testing.assert_allclose([f.time for f in frames], np.arange(25) * 1001 / 30000, atol=1e-4)
    np.testing.assert_allclose([brightness(f) for f in frames], np.linspace(20, 220, 25), atol=4)
    assert not any(frame.damaged for frame in frames)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.webm", "libvpx", "yuv420p"),
        ("a.mov", "mjpeg", "yuvj420p"),
    ],
)
def test_other_containers_and_codecs(tmp_path, name, codec, pix_fmt):
    video = open_video(write_video(tmp_path / name, numbered(12), codec=codec, pix_fmt=pix_fmt))
    frames = list(video.frames())
    assert [frame.index for frame in frames] == list(range(12))
    assert not any(frame.damaged for frame in frames)
    np.testing.assert_allclose([f.time for f in frames], np.arange(12) / 10, atol=2e-3)


# a, b, c, d of the header's matrix (x' = a x + c y, y' = b x + d y) -> where the red corner ends up
@pytest.mark.parametrize(
    ("matrix", "corner", "size"),
    [
        ((1, 0, 0, 1), (0, 0), (64, 48)),
        ((0, 1, -1, 0), (0, -1), (48, 64)),  # a phone held upright
        ((-1, 0, 0, -1), (-1, -1), (64, 48)),
        ((0, -1, 1, 0), (-1, 0), (48, 64)),
    ],
)
def test_rotation_of_phone_videos(tmp_path, matrix, corner, size):
    path = write_video(tmp_path / "a.mp4", numbered(3))
    data = bytearray(path.read_bytes())
    start = data.find(b"tkhd") + 44
    a, b, c, d = (65536 * value for value in matrix)
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    video = open_video(path)
    image = next(video.frames()).image()
    assert video.size == size and image.shape == (size[1], size[0], 3)
    assert image[corner[0], corner[1], 0] > 200
    assert (image[:, :, 0].astype(int) - image[:, :, 1] > 100).mean() == pytest.approx(0.25, 0.1)
    assert next(video.frames()).image(max_side=32).shape == (fit(size, 32)[1], fit(size, 32)[0], 3)


def test_oblong_pixels_are_made_square(tmp_path):
    video = open_video(write_video(tmp_path / "a.mp4", numbered(2), aspect=Fraction(3, 2)))
    assert video.size == (96, 48)
    assert next(video.frames()).image().shape == (48, 96, 3)


@pytest.mark.parametrize("lost", [[5], [5, 6, 7], [0], [0, 1], [11]])
def test_damaged_frames_are_counted_and_stood_in_for(tmp_path, lost):
    path = write_video(tmp_path / "a.mov", numbered(12), codec="mjpeg", pix_fmt="yuvj420p")
    frames = list(open_video(damage(path, lost)).frames())
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.index for frame in frames if frame.damaged] == lost
    np.testing.assert_allclose([f.time for f in frames], np.arange(12) / 10, atol=2e-3)
    stand_in = lost[0] - 1 if lost[0] else lost[-1] + 1
    assert brightness(frames[lost[0]]) == pytest.approx(brightness(frames[stand_in]))


def test_damage_within_h264_never_ends_a_video(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), np.uint8)
    frames = list(open_video(damage(write_video(tmp_path / "a.mp4", noise), [13, 14])).frames())
    assert [frame.index for frame in frames] == list(range(40))
    assert 2 <= sum(frame.damaged for frame in frames) < 40
    assert (np.diff([frame.time for frame in frames]) > 0).all()


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])  # frames out of order, and in order
@pytest.mark.parametrize("length", [5, 20])
def test_the_clock_goes_on_where_videos_were_joined(tmp_path, length, codec):
    clip = write_video(tmp_path / "a.ts", numbered(length), fps=25, codec=codec).read_bytes()
    joined = tmp_path / "joined.ts"
    joined.write_bytes(3 * clip)
    times = [frame.time for frame in open_video(joined).frames()]
    np.testing.assert_allclose(times, np.arange(3 * length) / 25, atol=1e-3)


def test_a_joined_video_may_claim_any_time():
    """Packets whose times, moved on, would not fit into 64 bits."""
    packets = [av.Packet(8) for _ in range(3)]
    for packet, ticks in zip(packets, [2**63 - 1, -(2**63) + 1, 2**63 - 1]):
        packet.pts, packet.dts, packet.time_base = ticks, ticks, Fraction(1, 1000)
    moved = [packet.pts for packet in _on_one_clock(iter(packets))]
    assert moved == sorted(moved)


@pytest.mark.parametrize("name", ["a.mkv", "a.ts"])
def test_a_clock_that_stands_still_is_not_believed(tmp_path, name):
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for image in [*numbered(12), None]:
            frame = None if image is None else av.VideoFrame.from_ndarray(image, format="rgb24")
            for packet in stream.encode(frame):
                packet.pts = packet.dts = 0
                container.mux(packet)
    times = [frame.time for frame in open_video(tmp_path / name).frames()]
    np.testing.assert_allclose(times, np.arange(12) / 25, atol=1e-3)


def test_stray_time_stamps_do_not_move_the_clock(tmp_path, monkeypatch):
    opened = open_video(write_video(tmp_path / "a.mp4", numbered(9)))
    stray = [0, 2, 1, 4, 3, 3, None, 7, 8]  # tenths of a second

    def restamped(container, stream):
        for tenths, (_, raw) in zip(stray, _decoded_frames(container, stream)):
            yield None if tenths is None else round(tenths / 10 / stream.time_base), raw

    monkeypatch.setattr("maed_jax.inference.video._decoded_frames", restamped)
    times = [frame.time for frame in opened.frames()]
    np.testing.assert_allclose(times, np.array([0, 2, 2, 4, 4, 5, 6, 7, 8]) / 10, atol=1e-3)


def test_a_file_that_is_all_damaged(tmp_path):
    path = write_video(tmp_path / "a.mov", numbered(3), codec="mjpeg", pix_fmt="yuvj420p")
    with pytest.raises(UserError, match="no frame that can be decoded"):
        open_video(damage(path, [0, 1, 2]))


def test_a_video_cut_short_is_read_as_far_as_it_goes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), np.uint8)
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 10) as writer:  # the index comes first
        for i, image in enumerate(noise):
            writer.write(image, i / 10)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    video = open_video(path)
    assert 5 < len(list(video.frames())) < 30 and video.announced == 40


def frames_hidden(path, count):
    """A copy of a video whose first frames are not shown, as of one cut without encoding again."""
    copy = path.with_name("cut.mp4")
    with av.open(str(path)) as source, av.open(str(copy), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        step = None
        for packet in source.demux(video=0):
            if packet.dts is not None:
                step = step or packet.duration
                packet.pts, packet.dts = packet.pts - count * step, packet.dts - count * step
                packet.stream = stream
                target.mux(packet)
    return copy


def test_frames_that_are_not_shown_are_not_announced(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(40), fps=25)
    assert open_video(path).announced == 40
    video = open_video(frames_hidden(path, 15))
    assert video.announced == len(list(video.frames())) == 25


def test_longer_sound_announces_no_frames(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream, sound = container.add_stream("mpeg4", rate=10), container.add_stream("aac", 8000)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for image in numbered(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 40_000), np.float32), "fltp", "mono")
        silence.sample_rate = 8000
        container.mux(sound.encode(silence))
        container.mux(stream.encode()), container.mux(sound.encode())
    video = open_video(path)
    assert video.announced == len(list(video.frames())) == 20


@pytest.mark.parametrize(
    "frames, ticks, length, announced",
    [
        (0, 0, "01:00:02.5", 36025),
        (0, 0, "9" * 400 + ":00:02.5", 0),
        (0, 0, "soon", 0),
        (-5, -7, "", 0),
        (-5, 70, "", 7),
        (12, 70, "", 7),
        (12, None, "", 12),
    ],
)
def test_announced_frames_of_any_header(frames, ticks, length, announced):
    stream = SimpleNamespace(
        frames=frames, duration=ticks, time_base=Fraction(1, 100), metadata={"DURATION": length}
    )
    assert _announced_frames(SimpleNamespace(duration=None), stream, 10.0) == announced


def sound(path):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(8000)
        file.writeframes(bytes(8000))


def half_a_video(path):
    data = write_video(path, numbered(20)).read_bytes()  # the index is at the end
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.mp4", lambda path: None, "there is no video"),
        ("a.mp4", lambda path: path.write_bytes(b""), "is empty"),
        ("a.mp4", lambda path: path.mkdir(), "is a directory"),
        (
            "a.mp4",
            lambda path: path.write_bytes(bytes(range(256)) * 40),
            "cannot be read as a video",
        ),
        ("a.txt", lambda path: path.write_text("hello\n" * 100), "contains no video"),
        ("a.mp4", half_a_video, "cannot be read as a video: it is cut short"),
        ("a.wav", sound, "contains no video: only sound"),
    ],
)
def test_files_that_are_not_videos_get_one_clear_line(tmp_path, name, make, message):
    make(tmp_path / name)
    with pytest.raises(UserError, match=message) as error:
        open_video(tmp_path / name)
    assert "\n" not in str(error.value) and str(tmp_path / name) in str(error.value)


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{}\n#EXT-X-ENDLIST\n"
CONCAT = "ffconcat version 1.0\nfile '{}'\n"
LEADING = {
    "HLS": ("a.m3u8", HLS.format("FOLDER/private/a.ts")),
    "HLS, relative": ("a.m3u8", HLS.format("../private/a.ts")),
    "concat": ("a.mp4", CONCAT.format("beside.ts")),
    "concat that ffmpeg forbids": ("a.mp4", CONCAT.format("FOLDER/private/a.ts")),
    "SDP": ("a.mp4", "v=0\nm=video 5004 RTP/AVP 96\nc=IN IP4 127.0.0.1\na=rtpmap:96 H264/90000\n"),
    "numbered images": ("%d.png", ""),
}


def test_tiles_of_an_image_are_not_taken_for_the_image():
    """FFmpeg shows each tile of an iPhone's HEIC image as a stream."""
    tile = SimpleNamespace(disposition=av.stream.Disposition.dependent, codec_context=object())
    streams = SimpleNamespace(video=[tile] * 4)
    container = SimpleNamespace(format=SimpleNamespace(name="mov,mp4"), streams=streams)
    with pytest.raises(UserError, match="a.heic is a HEIC image.*convert it to JPEG"):
        _video_stream(container, "a.heic")


@pytest.mark.parametrize("kind", LEADING)
def test_no_video_leads_to_another_file(tmp_path, kind):
    name, content = LEADING[kind]
    for folder in ("private", "given"):
        (tmp_path / folder).mkdir()
    video = write_video(tmp_path / "private" / "a.ts", numbered(6))
    beside, path = (tmp_path / "given" / each for each in ("beside.ts", name))
    beside.write_bytes(video.read_bytes())
    cv2.imwrite(str(tmp_path / "given" / "1.png"), numbered(1)[0])
    path.write_text(content.replace("FOLDER", str(tmp_path)) or "x")
    with pytest.raises(UserError, match=f"^{path} cannot be read as a video: it is cut short"):
        open_video(path)
    assert len(list(open_video(beside).frames())) == 6


def test_names_that_look_like_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4", numbered(2)).rename(tmp_path / "12:30 50%d.mp4")
    assert len(list(open_video("12:30 50%d.mp4").frames())) == 2


def test_written_videos_suit_browsers_and_keep_times(tmp_path):
    times = [0.0, 0.1, 0.15, 0.4, 0.41]
    images = numbered(5, (47, 65))
    path = tmp_path / "out: 1.mp4"
    with VideoWriter(path, 10) as writer:
        for image, time in zip(images, times):
            writer.write(image, time)
        assert not path.exists()
    data = path.read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.codec_context.colorspace == 1  # BT.709
    video = open_video(path)
    frames = list(video.frames())
    assert video.size == (64, 46)
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=1e-3)
    for frame, image in zip(frames, images):
        assert np.abs(frame.image()[:-4, -20:].astype(int) - image[:-5, -21:-1]).mean() < 4
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_failed_video_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "a.mp4", 10) as writer:
        writer.write(numbered(1)[0], 0)
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(1, 64), (48, 1)])
def test_a_video_is_not_a_line(tmp_path, size):
    with pytest.raises(UserError, match=f"a video needs at least 2 x 2 .* {size[1]} x {size[0]}$"):
        with VideoWriter(tmp_path / "a.mp4", 10) as writer:
            writer.write(numbered(1, size)[0], 0)
    assert not list(tmp_path.iterdir())


def test_a_day_between_frames_is_too_much(tmp_path):
    with pytest.raises(UserError, match="a.mp4 cannot be written"):
        with VideoWriter(tmp_path / "a.mp4", 1 / 86400) as writer:
            for i, image in enumerate(numbered(5)):
                writer.write(image, 86400.0 * i)
    assert not list(tmp_path.iterdir())


def test_where_a_video_cannot_be_written(tmp_path):
    with pytest.raises(UserError, match="cannot be written"), VideoWriter(tmp_path / "x/a.mp4", 10):
        pass


def test_copies_of_a_frame_can_be_scaled_in_several_threads(tmp_path):
    """Damaged frames are copies of a neighbour, over which FFmpeg would crash."""
    path = write_video(tmp_path / "a.mp4", figure_images([[(100, 120)]] * 2))
    frame = next(iter(open_video(path).frames()))
    alone = frame.image(200)
    with ThreadPoolExecutor(8) as pool:
        for image in pool.map(lambda _: frame.image(200), range(64)):
            np.testing.assert_array_equal(image, alone)


@pytest.mark.parametrize("fps", [10, 24])
def test_the_rate_of_a_file_that_does_not_say_is_measured(tmp_path, fps):
    path = write_video(tmp_path / "a.mp4", figure_images([[(100, 120)]] * 9), fps=fps)
    assert _measured_rate(path) == pytest.approx(fps)
    one = write_video(tmp_path / "one.mp4", figure_images([[(100, 120)]]), fps=fps)
    assert _measured_rate(one) is None


def test_a_variable_rate_is_the_average_of_the_times(tmp_path):
    """Matroska states a nominal rate, here 30; frames come 1/30 and then 1/15 s apart."""
    path = tmp_path / "phone.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 30)
        for time in [*range(20), *range(20, 60, 2)]:
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
            frame.pts, frame.time_base = time, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    video = open_video(path)
    assert video.fps == pytest.approx(39 / (58 / 30), rel=0.01)
    assert video.announced == pytest.approx(40, abs=1)
