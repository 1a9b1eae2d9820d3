"""The files in golden/ were made by hand: they see a person wherever the first channel of their
input is bright (blue for YOLOX, red for the others), and an object of another class."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
from maed_jax.errors import UserError
from maed_jax.inference.detect import make_detector
from maed_jax.inference.onnx_detector import (
    _grid,
    _kind,
    _rt_detr,
    _yolo,
    _yolo_boxes,
    _yolox,
)

RED, BLUE = 0, 2
KINDS = {
    "yolox": BLUE, "yolox_decoded": BLUE, "mmdeploy": BLUE, "ultralytics": RED,
    "ultralytics_boxes": RED, "rtdetr": RED, "huggingface": RED, "rfdetr": RED,
}  # fmt: skip


@pytest.fixture
def detector_of(golden_dir):
    return lambda kind: make_detector(str(golden_dir / f"detector_{kind}.onnx"))


def plain_image(channel, size):
    image = np.zeros((*size, 3), np.uint8)
    image[..., channel] = 255
    return image


@pytest.mark.parametrize("kind", KINDS)
def test_a_person_is_found_where_the_file_says(kind, detector_of):
    detector = detector_of(kind)
    assert detector.max_side == 64
    found = detector(plain_image(KINDS[kind], (32, 64)))
    assert found.boxes.dtype == found.scores.dtype == np.float32
    np.testing.assert_allclose(found.boxes, [[28, 20, 12, 24]], atol=0.5)  # duplicates are merged
    np.testing.assert_allclose(found.scores, [0.9], atol=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_channels_are_in_the_order_of_training(kind, detector_of):
    other = RED if KINDS[kind] == BLUE else BLUE
    found = detector_of(kind)(plain_image(other, (32, 64)))
    # the grey padding of YOLOX's images, and a logit of 0, are above the threshold
    assert len(found.scores) == 0 or found.scores[0] <= 0.5


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("yolox", [56, 40, 24, 48]),
        ("ultralytics", [40, 40, 24, 48]),
        ("ultralytics_boxes", [40, 40, 24, 48]),
        ("rtdetr", [42, 40, 18, 48]),
        ("rfdetr", [42, 40, 18, 48]),
    ],
)
def test_boxes_are_in_pixels_of_the_image(kind, expected, detector_of):
    """A narrow image is padded for YOLO, on one side or both, and stretched for DETR."""
    found = detector_of(kind)(plain_image(KINDS[kind], (64, 96)))
    np.testing.assert_allclose(found.boxes, [expected], atol=1)


def field(number, content):
    """A protocol buffer field: a small number, or text, bytes or other fields."""
    if isinstance(content, int):
        return bytes([number << 3, content])
    content = content.encode() if isinstance(content, str) else content
    low, high = len(content) & 127, len(content) >> 7
    return bytes([number << 3 | 2, low | 128 * bool(high), *([high] if high else [])]) + content


SINGLE, WHOLE, HALF, DOUBLE = 1, 7, 10, 11  # ONNX's number types


def small_model(taken=HALF, batch=1):
    """A detector in ONNX that sees a person wherever its input is bright, with float16 boxes."""

    def constant(name, kind, array):
        shape = b"".join(field(1, n) for n in array.shape)
        return field(5, shape + field(2, kind) + field(8, name) + field(9, array.tobytes()))

    def value(number, name, kind, shape):
        axes = field(2, b"".join(field(1, field(1, n)) for n in shape))
        return field(number, field(1, name) + field(2, field(1, field(1, kind) + axes)))

    def node(kind, inputs, output, attribute=b""):
        names = b"".join(field(1, name) for name in inputs.split()) + field(2, output)
        return field(1, names + field(4, kind) + attribute)

    def number(name, value):
        return field(5, field(1, name) + field(3, value) + b"\xa0\x01\x02")

    graph = [
        node("Cast", "images", "full", number("to", SINGLE)),
        node("ReduceMax", "full", "brightest", number("keepdims", 0)),
        node("Mul", "brightest score", "scores"),
        node("Identity", "kind", "labels"),
        node("Identity", "corners", "boxes"),
        field(2, "g"),
        constant("score", SINGLE, np.array([[0.9]], np.float32)),
        constant("kind", WHOLE, np.array([[0]])),
        constant("corners", HALF, np.array([[[22, 8, 34, 32]]], np.float16)),
        value(11, "images", taken, (batch, 3, 32, 64)),
        value(11, "orig_target_sizes", WHOLE, (1, 2)),
        value(12, "labels", WHOLE, (1, 1)),
        value(12, "boxes", HALF, (1, 1, 4)),
        value(12, "scores", SINGLE, (1, 1)),
    ]
    return field(1, 8) + field(7, b"".join(graph)) + field(8, field(1, "") + field(2, 13))


def test_a_float16_detector(tmp_path):
    (tmp_path / "half.onnx").write_bytes(small_model())
    found = make_detector(str(tmp_path / "half.onnx"))(plain_image(RED, (32, 64)))
    assert found.boxes.dtype == found.scores.dtype == np.float32
    np.testing.assert_allclose(found.boxes, [[28, 20, 12, 24]])
    np.testing.assert_allclose(found.scores, [0.9], rtol=1e-6)


def test_larger_batches_and_other_input_types_are_refused(tmp_path):
    (tmp_path / "a.onnx").write_bytes(small_model(batch=4))
    with pytest.raises(UserError, match=r"a.onnx takes tensor\(float16\) \[4, 3, 32, 64\]; export"):
        make_detector(str(tmp_path / "a.onnx"))
    (tmp_path / "a.onnx").write_bytes(small_model(taken=DOUBLE))
    with pytest.raises(UserError, match=r"a.onnx takes tensor\(double\) .*; export it for one"):
        make_detector(str(tmp_path / "a.onnx"))


def test_a_model_that_fails_is_one_line(golden_dir, tmp_path):
    """It takes the image size in an integer type that is not ours."""
    sizes = b"orig_target_sizes\x12\x0f\x0a\x0d\x08"
    data = (golden_dir / "detector_rtdetr.onnx").read_bytes()
    (tmp_path / "a.onnx").write_bytes(data.replace(sizes + b"\x07", sizes + b"\x06"))
    detector = make_detector(str(tmp_path / "a.onnx"))
    with pytest.raises(UserError, match=r"a.onnx fails as a detector \(.*input data type") as error:
        detector(plain_image(RED, (32, 64)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "shapes", "says"),
    [
        ("yolox", [(1, 42, 5)], "index 5 is out of bounds"),
        ("rtdetr", [(1, 3), (1, 3, 5), (1, 3)], r"its boxes are \(3, 5\) and its scores \(3,\)"),
    ],
)
def test_unexpected_outputs_are_one_line(kind, shapes, says, detector_of):
    detector = detector_of(kind)
    answers = [np.zeros(shape, np.float32) for shape in shapes]
    detector._session = SimpleNamespace(run=lambda *_: answers)
    with pytest.raises(UserError, match=rf"{kind}.onnx fails as a detector \(.*{says}"):
        detector(plain_image(RED, (32, 64)))


def test_outputs_without_a_batch_axis(detector_of):
    detector = detector_of("rtdetr")
    boxes = np.array([[0, 0, 8, 8], [22, 8, 34, 32]], np.float32)
    answers = [np.array([17, 0]), boxes, np.array([0.9, 0.8], np.float32)]
    detector._session = SimpleNamespace(run=lambda *_: answers)
    detector._names = ["labels", "boxes", "scores"]
    found = detector(plain_image(RED, (32, 64)))
    np.testing.assert_allclose(found.boxes, [[28, 20, 12, 24]])
    np.testing.assert_allclose(found.scores, [0.8])


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((1, 8400, 85), _yolox),
        ((1, 8400, 6), _yolox),  # people only
        (("b", "anchors", 85), _yolox),
        ((1, 84, 8400), _yolo),
        (("b", 84, "anchors"), _yolo),
        ((1, 300, 6), _yolo_boxes),
    ],
)
def test_yolo_versions_are_told_apart(shape, kind):
    assert _kind({"output": shape}, (640, 640))[1] is kind


def test_what_looks_like_rt_detr_but_takes_no_sizes_is_refused():
    shapes = {"boxes": ("n", 4), "labels": ("n",), "scores": ("n",)}
    assert _kind(shapes, (640, 640), inputs=2)[1] is _rt_detr
    assert _kind(shapes, (640, 640), inputs=1) is None


def test_grid():
    cells, strides = _grid((32, 64))
    assert len(cells) == len(strides) == 42
    assert cells[9].tolist() == [1, 1] and strides[9] == 8 and strides[-1] == 32


def test_mistakes(detector_of, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="has the outputs heat, which match no known detector"):
        detector_of("other")
    with pytest.raises(UserError, match="there is no detector file"):
        make_detector(str(tmp_path / "none.onnx"))
    (tmp_path / "bad.onnx").write_bytes(b"hello")
    with pytest.raises(UserError, match="bad.onnx cannot be read as an ONNX model"):
        make_detector(str(tmp_path / "bad.onnx"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install .*onnx"):
        make_detector(str(tmp_path / "bad.onnx"))
