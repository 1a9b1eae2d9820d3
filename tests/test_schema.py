import json

import numpy as np
import pytest

from maed_jax.data import schema
from maed_jax.errors import UserError

TRACKS = [schema.Track("a", 0, 3), schema.Track("b", 3, 1, "occlusion")]


def test_tracks_are_read_as_written(tmp_path):
    schema.write_tracks(tmp_path, "train", TRACKS)
    assert schema.read_tracks(tmp_path, "train") == TRACKS


def test_missing_table_is_a_clear_error(tmp_path):
    with pytest.raises(UserError, match="tracks-val.json is missing"):
        schema.read_tracks(tmp_path, "val")


@pytest.mark.parametrize("content", ["{", json.dumps([{"name": "a"}]), json.dumps([1])])
def test_broken_table_is_a_clear_error(tmp_path, content):
    schema.tracks_path(tmp_path, "train").write_text(content)
    with pytest.raises(UserError, match="not a table of tracks"):
        schema.read_tracks(tmp_path, "train")


def test_features_are_those_of_a_record():
    features = schema.features()
    assert set(features) == {*schema.ARRAYS, *schema.STRINGS, schema.IMAGE}
    for name, (shape, dtype) in schema.ARRAYS.items():
        assert features[name].shape == shape
        assert np.dtype(features[name].np_dtype) == np.dtype(dtype)
