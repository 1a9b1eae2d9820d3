import struct

import numpy as np
import pytest
from raw_instavariety import example, masked_crc32c, write_records
from tensorboardX import crc32c as tensorboard

from maed_jax.datasets.tfrecord import Example, crc32c, read_records
from maed_jax.errors import UserError


def test_known_checksums():
    """Values from RFC 3720, appendix B.4, and the usual check value."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


@pytest.mark.parametrize("size", [0, 1, 3, 63, 64, 65, 127, 128, 1000, 4096, 65537, 100_001])
def test_checksums_of_every_size(size):
    data = np.random.default_rng(size).bytes(size)
    assert crc32c(data) == tensorboard.crc_finalize(
        tensorboard.crc_update(tensorboard.CRC_INIT, data)
    )


def test_records_read_back(tmp_path):
    records = [b"", b"abc", np.random.default_rng(0).bytes(5000)]
    assert list(read_records(write_records(tmp_path / "x.tfrecord", *records))) == records
    (tmp_path / "empty.tfrecord").write_bytes(b"")
    assert list(read_records(tmp_path / "empty.tfrecord")) == []


def test_a_file_that_ends_early_or_is_damaged(tmp_path):
    path = write_records(tmp_path / "x.tfrecord", b"first", b"second record")
    intact = path.read_bytes()
    for size in range(22, len(intact)):  # the first takes 21 bytes
        path.write_bytes(intact[:size])
        with pytest.raises(UserError, match="x.tfrecord, record 1: the file ends within it"):
            list(read_records(path))
    for offset in range(21, len(intact)):
        damaged = bytearray(intact)
        damaged[offset] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="x.tfrecord, record 1: the checksum of its"):
            list(read_records(path))


def test_a_length_that_lies_takes_no_memory(tmp_path):
    path = tmp_path / "x.tfrecord"
    for length in (1 << 30, 1 << 40, (1 << 64) - 1):
        head = struct.pack("<Q", length)
        path.write_bytes(head + struct.pack("<I", masked_crc32c(head)) + bytes(100))
        with pytest.raises(UserError, match="record 0: the file ends within it"):
            list(read_records(path))


def test_other_files(tmp_path):
    (tmp_path / "x.tfrecord").write_bytes(b"this is some text, and no TFRecord at all")
    with pytest.raises(UserError, match="record 0: the checksum.*not a TFRecord"):
        list(read_records(tmp_path / "x.tfrecord"))
    with pytest.raises(UserError, match="none.tfrecord cannot be read: no such file"):
        list(read_records(tmp_path / "none.tfrecord"))


def test_examples():
    data = example(a=np.array([1, 2]), b=np.array([0.5, np.nan]), c=[b"x", b"y"])
    found = Example(data, "x.tfrecord, record 0")
    assert "a" in found and "d" not in found and found.length("c") == 2 and found.length("d") == 0
    np.testing.assert_array_equal(found.numbers("a", (2, 1)), [[1], [2]])
    np.testing.assert_array_equal(found.numbers("b", (2,)), [0.5, np.nan])
    assert found.bytes("c") == [b"x", b"y"]
    for wrong in (lambda: found.numbers("a", (3,)), lambda: found.numbers("c", (2,)),
                  lambda: found.bytes("a"), lambda: found.bytes("d")):  # fmt: skip
        with pytest.raises(UserError, match="x.tfrecord, record 0: [acd] "):
            wrong()
    with pytest.raises(UserError, match="x.tfrecord, record 0: not a tf.train.Example"):
        Example(data[:-1], "x.tfrecord, record 0")
