"""Two rendered people who walk past each other, tracked from the built-in detector."""

import numpy as np
import pytest

pytest.importorskip("pyvista")
import crossing


def test_people_who_cross_keep_their_identity(tmp_path):
    tracks, truth = crossing.film(tmp_path, seed=11)
    side = np.sign(truth[0, :, 0] - truth[1, :, 0])
    assert side[0] == -1 and side[-1] == 1, "the one behind is hidden for a while"
    assert crossing.mistakes(tracks, truth) == []
    assert crossing.mistakes(tracks[:1], truth) and crossing.mistakes([*tracks, tracks[0]], truth)
    assert crossing.mistakes(tracks, np.stack([truth[0], truth[1, ::-1]]))
