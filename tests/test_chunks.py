import numpy as np
import pytest

from maed_jax.chunks import in_chunks


@pytest.mark.parametrize("rows, calls", [(1, 1), (4, 1), (5, 2), (8, 2)])
def test_pieces_have_one_shape_and_come_out_whole(rows, calls):
    seen = []

    def function(a, b):
        seen.append((a.copy(), b.shape))
        return {"sum": a[:, 0] + b, "a": a}

    a, b = np.arange(2.0 * rows).reshape(rows, 2), np.arange(float(rows))
    parts, found = zip(*in_chunks(function, 4, a, b))
    assert len(seen) == calls and all(x.shape == (4, 2) and y == (4,) for x, y in seen)
    np.testing.assert_array_equal(np.concatenate([np.arange(rows)[part] for part in parts]), b)
    np.testing.assert_array_equal(np.concatenate([each["sum"] for each in found]), a[:, 0] + b)
    np.testing.assert_array_equal(np.concatenate([each["a"] for each in found]), a)
    np.testing.assert_array_equal(seen[-1][0][(rows - 1) % 4 :], a[-1:].repeat(-rows % 4 + 1, 0))


def test_no_rows_are_no_pieces():
    assert list(in_chunks(None, 4, np.zeros((0, 2)))) == []
