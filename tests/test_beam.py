"""Building with Apache Beam, if installed, gives the same result as with processes."""

import pytest
import raw_toy
from raw_toy import Toy

from maed_jax.data import prepare, schema
from maed_jax.data.records import Records
from maed_jax.errors import UserError


@pytest.fixture(autouse=True)
def only_toy(monkeypatch):
    monkeypatch.setattr(prepare, "builder_class", lambda name: Toy)


def test_the_direct_runner_makes_the_same_records(tmp_path, monkeypatch, capfd):
    pytest.importorskip("apache_beam")
    from maed_jax.datasets import source

    raw = raw_toy.write(tmp_path / "raw")
    raw_toy.in_this_process(monkeypatch)
    plain = prepare.build("toy", tmp_path / "plain", "crops", manual_dir=raw)
    monkeypatch.setattr(source, "in_order", lambda function, tasks, processes: (t for t in tasks))
    monkeypatch.setattr(source, "SHARD", 5000)  # several files in a split
    beamed = prepare.build(
        "toy", tmp_path / "beam", "crops", manual_dir=raw,
        beam="DirectRunner", beam_options="--direct_num_workers=1",
    )  # fmt: skip
    for split in ("train", "test"):
        wanted, found = Records(plain, split), Records(beamed, split)
        assert schema.read_tracks(plain, split) == schema.read_tracks(beamed, split)
        assert len(wanted) == len(found)
        for index in range(len(wanted)):
            assert str(wanted[index]) == str(found[index])
    assert (plain / "report.json").read_bytes() == (beamed / "report.json").read_bytes()
    assert [path.name for path in (tmp_path / "beam").iterdir()] == ["toy"]


def test_without_beam_it_is_said_where_to_get_it(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "apache_beam.options.pipeline_options", None)
    raw = raw_toy.write(tmp_path / "raw", sequences=2, frames=1)
    with pytest.raises(UserError, match="Apache Beam is not installed"):
        prepare.build("toy", tmp_path, "crops", manual_dir=raw, beam="DirectRunner")
