import pytest

from maed_jax.files.formats import check_format


def test_newer_formats_alone_are_refused():
    check_format(2, 3)
    check_format(3, 3)
    with pytest.raises(ValueError, match="has format 4, newer than 3: update"):
        check_format(4, 3)
