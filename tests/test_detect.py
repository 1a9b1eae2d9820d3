import pytest

from maed_jax.errors import UserError
from maed_jax.inference.detect import make_detector


def test_unknown_detector():
    with pytest.raises(UserError, match="no detector 'yolo'; choose hog or"):
        make_detector("yolo")
