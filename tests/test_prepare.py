"""The command line of `maed data`, and what remains when a build fails."""

import json
import tempfile

import pytest

from maed_jax.data import prepare, schema
from maed_jax.errors import UserError


class Broken(Exception):
    pass


@pytest.fixture
def builder(monkeypatch, tmp_path):
    """Replaces mannequins by records that take no time; at `fail_at`, writing fails."""
    pytest.importorskip("pyvista")
    import numpy as np

    cls = prepare.builder_class("mannequins")
    settings = {"fail_at": None}

    def records(function, plans, processes):
        for number, plan in enumerate(plans):
            if settings["fail_at"] == number:
                raise settings["error"]
            yield [
                {name: np.zeros(shape, dtype) for name, (shape, dtype) in schema.ARRAYS.items()}
                | {"frame": t, "image": b"jpeg", "track": plan.name}
                | {"body": "mannequin", "gender": "neutral", "source": "test"}
                for t in range(plan.frames)
            ]

    module = __import__(cls.__module__, fromlist=["in_order"])
    monkeypatch.setattr(module, "in_order", records)
    return settings


def test_list_names_the_datasets(capsys):
    prepare.main(["list"])
    out = capsys.readouterr().out
    assert "mannequins" in out and "\n3dpw " in out and "maed data build NAME --help" in out
    assert all(len(line) <= 120 for line in out.splitlines())


def test_every_listed_dataset_has_a_builder_that_tells_its_layout(capsys):
    for name in prepare.available():
        with pytest.raises(SystemExit) as stop:
            prepare.main(["build", name, "--help"])
        assert stop.value.code == 0
        out = capsys.readouterr().out
        assert prepare.builder_class(name).name == name
        said = "3dpw" if name == "threedpw" else name
        assert f"usage: maed data build {said} " in out
        assert "--manual_dir" in out or name == "mannequins"
    assert prepare.builder_class("3dpw").name == "threedpw"


def test_names_are_those_that_everyone_uses(capsys):
    with pytest.raises(SystemExit):
        prepare.main(["build", "--help"])
    assert "3dpw" in (out := capsys.readouterr().out) and "threedpw" not in out
    for wrong, says in (("4dpw", r"did you mean 3dpw\?"), ("kinetics", "choose from .*, 3dpw")):
        with pytest.raises(UserError, match=says):
            prepare.builder_class(wrong)


def test_build_ends_in_a_summary(builder, tmp_path, capsys):
    prepare.main(["build", "mannequins", "--data_dir", str(tmp_path), "--config", "tiny"])
    out = capsys.readouterr().out
    folder = tmp_path / "mannequins/tiny/1.3.0"
    assert str(folder) in out and "occlusion" in out
    for split in ("train", "validation", "test"):
        tracks = schema.read_tracks(folder, split)
        assert any(
            line.split()[:1] == [split] and line.split()[-2] == str(len(tracks))
            for line in out.splitlines()
        )
    assert json.loads((folder / "options.json").read_text()) == {"seed": "0"}


def test_a_build_does_not_look_for_the_dataset_in_a_bucket(builder, tmp_path, monkeypatch):
    """TFDS would look for each missing dataset in Google's bucket and leave a folder behind."""
    from tensorflow_datasets.core.utils import gcs_utils

    asked = []
    monkeypatch.setattr(gcs_utils, "exists", asked.append)
    monkeypatch.setattr(gcs_utils, "_is_gcs_disabled", False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    prepare.build("mannequins", tmp_path / "data", "tiny")
    assert not asked
    assert not list((tmp_path / "temporary").iterdir())


def test_a_second_build_is_quick_and_another_one_asks_first(builder, tmp_path):
    first = prepare.build("mannequins", tmp_path, "tiny", seed=0)
    stamp = (first / "dataset_info.json").stat().st_mtime_ns
    builder["fail_at"], builder["error"] = 0, Broken()
    assert prepare.build("mannequins", tmp_path, "tiny", seed=0) == first
    assert (first / "dataset_info.json").stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match="--overwrite"):
        prepare.build("mannequins", tmp_path, "tiny", seed=1)
    builder["fail_at"] = None
    prepare.build("mannequins", tmp_path, "tiny", seed=1, overwrite=True)
    assert json.loads((first / "options.json").read_text()) == {"seed": "1"}


@pytest.mark.parametrize("error", [Broken(), KeyboardInterrupt(), UserError("no")])
def test_a_build_that_breaks_leaves_what_was_there(builder, tmp_path, error):
    builder["fail_at"], builder["error"] = 3, error
    with pytest.raises(type(error)):
        prepare.build("mannequins", tmp_path, "tiny", seed=0)
    assert list(tmp_path.iterdir()) == []
    builder["fail_at"] = None
    folder = prepare.build("mannequins", tmp_path, "tiny", seed=0)
    builder["fail_at"] = 3
    with pytest.raises(type(error)):
        prepare.build("mannequins", tmp_path, "tiny", seed=1, overwrite=True)
    assert (folder / "dataset_info.json").is_file()
    assert [p.name for p in tmp_path.iterdir()] == ["mannequins"]


def test_the_same_build_runs_once_at_a_time(builder, tmp_path):
    first = prepare.builder_class("mannequins")(data_dir=tmp_path, config="tiny")
    with prepare._build_folder(first, tmp_path, {"seed": "0"}):
        with pytest.raises(UserError, match="the same build is already running"):
            prepare.build("mannequins", tmp_path, "tiny", seed=0)
    assert not list(tmp_path.iterdir())


def test_mistakes_have_one_line(tmp_path):
    with pytest.raises(UserError, match="no dataset 'manequins'.*mannequins"):
        prepare.main(["build", "manequins", "--data_dir", str(tmp_path)])
    with pytest.raises(UserError, match="name a dataset"):
        prepare.main(["build"])
    with pytest.raises(UserError, match="no folder"):
        prepare.build("mannequins", tmp_path, "tiny", motions=tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        prepare.build("mannequins", tmp_path / "file", "tiny")
    with pytest.raises(UserError, match="no prepared dataset"):
        prepare.main(["check", str(tmp_path)])
    with pytest.raises(UserError, match="--seed: needs a whole number of at least 0, not '-1'"):
        prepare.main(["video", "--out", str(tmp_path / "a.mp4"), "--seed", "-1"])
    with pytest.raises(UserError, match="--seed: needs a whole number of at least 0, not '-1'"):
        prepare.main(["build", "mannequins", "--data_dir", str(tmp_path), "--seed", "-1"])
    with pytest.raises(UserError, match="--processes: needs a whole number above 0, not '-3'"):
        prepare.main(["build", "mannequins", "--data_dir", str(tmp_path), "--processes", "-3"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


def test_a_full_disk_has_one_line(builder, tmp_path):
    builder["fail_at"], builder["error"] = 3, OSError(28, "No space left on device")
    with pytest.raises(UserError, match="no space left on device"):
        prepare.main(["build", "mannequins", "--data_dir", str(tmp_path), "--config", "tiny"])
    builder["error"] = OSError(5, "Input/output error")
    with pytest.raises(OSError, match="Input/output"):
        prepare.main(["build", "mannequins", "--data_dir", str(tmp_path), "--config", "tiny"])


def test_help_of_a_dataset(capsys):
    with pytest.raises(SystemExit) as stop:
        prepare.main(["build", "mannequins", "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "--motions" in out and "demo" in out
    with pytest.raises(SystemExit):
        prepare.main(["build", "--help"])
    assert "mannequins" in capsys.readouterr().out
