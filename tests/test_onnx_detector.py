"""The files in golden/ are made by hand: they see one person wherever their picture's first channel
is bright (blue for YOLOX, red for the others), and a thing of another class."""

import sys

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
from maed_jax.errors import UserError
from maed_jax.inference.detect import make_detector
from maed_jax.inference.onnx_detector import _grid, _kind, _yolo, _yolo_boxes, _yolox

RED, BLUE = 0, 2
KINDS = {
    "yolox": BLUE, "yolox_decoded": BLUE, "mmdeploy": BLUE, "ultralytics": RED,
    "ultralytics_boxes": RED, "rtdetr": RED, "huggingface": RED, "rfdetr": RED,
}  # fmt: skip


@pytest.fixture
def detector_of(golden_dir):
    return lambda kind: make_detector(str(golden_dir / f"detector_{kind}.onnx"))


def picture(channel, size):
    image = np.zeros((*size, 3), np.uint8)
    image[..., channel] = 255
    return image


@pytest.mark.parametrize("kind", KINDS)
def test_a_person_is_found_where_the_file_says(kind, detector_of):
    detector = detector_of(kind)
    assert detector.longest == 64
    found = detector(picture(KINDS[kind], (32, 64)))
    assert found.boxes.dtype == found.scores.dtype == np.float32
    np.testing.assert_allclose(found.boxes, [[28, 20, 12, 24]], atol=0.5)  # doubles are merged
    np.testing.assert_allclose(found.scores, [0.9], atol=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_channels_are_in_the_order_of_training(kind, detector_of):
    other = RED if KINDS[kind] == BLUE else BLUE
    found = detector_of(kind)(picture(other, (32, 64)))
    # the grey that YOLOX's pictures are padded with, and a logit of 0, are something
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
def test_boxes_are_in_pixels_of_the_picture(kind, expected, detector_of):
    """A narrow picture is padded for YOLO, on one side or both, and stretched for DETR."""
    found = detector_of(kind)(picture(KINDS[kind], (64, 96)))
    np.testing.assert_allclose(found.boxes, [expected], atol=1)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((1, 8400, 85), _yolox),
        ((1, 8400, 6), _yolox),  # people alone
        (("b", "anchors", 85), _yolox),
        ((1, 84, 8400), _yolo),
        (("b", 84, "anchors"), _yolo),
        ((1, 300, 6), _yolo_boxes),
    ],
)
def test_yolo_of_all_ages_are_told_apart(shape, kind):
    assert _kind({"output": shape}, (640, 640))[1] is kind


def test_grid():
    cells, strides = _grid((32, 64))
    assert len(cells) == len(strides) == 42
    assert cells[9].tolist() == [1, 1] and strides[9] == 8 and strides[-1] == 32


def test_mistakes(detector_of, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="has the outputs heat, which are not"):
        detector_of("other")
    with pytest.raises(UserError, match="there is no detector file"):
        make_detector(str(tmp_path / "none.onnx"))
    (tmp_path / "bad.onnx").write_bytes(b"hello")
    with pytest.raises(UserError, match="bad.onnx cannot be read as an ONNX model"):
        make_detector(str(tmp_path / "bad.onnx"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"maed_jax\[onnx\]"):
        make_detector(str(tmp_path / "bad.onnx"))
