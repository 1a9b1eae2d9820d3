"""`tf.train.Example` as parsed here."""

import pytest
from tensorflow_datasets.proto import tf_example_pb2

from maed_jax.data.example import parse_example


def test_examples_are_what_tfds_reads():
    example = tf_example_pb2.Example()
    feature = example.features.feature
    feature["floats"].float_list.value.extend([1.5, -2.0])
    feature["numbers"].int64_list.value.extend([3, -4, 1 << 40])
    feature["bytes"].bytes_list.value.append(b"\xff\x00")
    found = parse_example(example.SerializeToString())
    assert sorted(found) == ["bytes", "floats", "numbers"]
    assert found["floats"].float_list.value == [1.5, -2.0]
    assert found["numbers"].int64_list.value == [3, -4, 1 << 40]
    assert found["bytes"].bytes_list.value == [b"\xff\x00"]
    assert [found[name].WhichOneof("kind") for name in sorted(found)] == [
        "bytes_list", "float_list", "int64_list",
    ]  # fmt: skip
    for name in feature:
        assert found[name].SerializeToString() == feature[name].SerializeToString()


@pytest.mark.parametrize("data", [b"x", b"\x0a\xff", b"\x0a\x05\x0a\x03\x0a\x01\xff"])
def test_bytes_that_are_no_example_are_refused(data):
    with pytest.raises(ValueError, match="not a tf.train.Example"):
        parse_example(data)
