import json
import subprocess
import sys

import numpy as np
import pytest
from fake_dataset import write_fake_dataset

from maed_jax import bench, cli
from maed_jax.bench import data, readers, synthetic
from maed_jax.data import images
from maed_jax.errors import UserError


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(readers, "FULL_FRAMES", {160: 83, 320: 90})
    monkeypatch.setattr(readers, "CROP", 64)
    monkeypatch.setattr(readers, "SIZE", 32)
    monkeypatch.setattr(data, "TURN", 0.01)


def test_all_readers_are_compared(small, tmp_path, capsys):
    bench.main(["data", "--rounds", "3", "--json", str(tmp_path / "out.json")])
    printed = capsys.readouterr()
    result = json.loads((tmp_path / "out.json").read_text())
    rows = {row["name"]: row for row in result["rows"]}
    kinds = ("original", "frames", "frames of videos")
    assert set(rows) == {"crops, 64 x 64"} | {f"{k}, {s} x {s}" for k in kinds for s in (160, 320)}
    for name, row in rows.items():
        assert 0 < row["frames/s"]["low"] <= row["frames/s"]["high"]
        assert row["kilobytes"] > 0 and name in printed.out
    assert rows["original, 160 x 160"]["ratio"]["median"] == 1
    assert result["machine"]["cores"] >= 1 and "round 3 of 3" in printed.err


def test_without_pillow_the_original_is_left_out(small, monkeypatch, capsys):
    monkeypatch.setattr(data.importlib.util, "find_spec", lambda name: None)
    bench.main(["data", "--rounds", "1"])
    printed = capsys.readouterr()
    assert "no Pillow" in printed.err
    assert "crops" in printed.out and "original," not in printed.out


def test_the_originals_reader_gives_the_crop(small, tmp_path):
    photo, box = synthetic.photo(160), synthetic.box(160, 0.45, np.random.default_rng(0))
    file = tmp_path / "a.jpg"
    file.write_bytes(images.encode_jpeg(photo))
    expected = images.normalise(images.warp(photo, images.crop_affine(box, 32), 32))
    crop = readers.original_crop(file, box)
    assert crop.shape == (3, 32, 32) and crop.dtype == np.float32
    assert np.abs(crop.transpose(1, 2, 0) - expected).mean() < 0.05


def test_photos_take_as_much_as_real_ones():
    photo = synthetic.photo(1000)
    assert photo.shape == (1000, 1000, 3) and photo.dtype == np.uint8
    assert 60 < len(images.encode_jpeg(photo, 83)) / 1000 < 80
    assert 18 < len(readers.crop_of(photo)) / 1000 < 32
    np.testing.assert_array_equal(synthetic.photo(64, 1), synthetic.photo(64, 1))


def test_batches_of_a_dataset(tmp_path, capsys):
    folder = write_fake_dataset(tmp_path, [40])
    out = tmp_path / "out.json"
    arguments = ["--dataset", str(folder), "--seconds", "0.3", "--interval", "2"]
    bench.main(["data", *arguments, "--clips_per_batch", "2", "--json", str(out)])
    (result,) = json.loads(out.read_text())["rows"]
    assert result["cores"] == 1 and result["frames/s/core"] == result["frames/s"] > 0
    assert result["frames/s"] == pytest.approx(16 * result["clips/s"], rel=0.01)
    assert "clips/s" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["date"], "no benchmark 'date'; choose from model, train, smpl, data"),
        (["data", "--rounds", "0"], "--rounds: needs a whole number above 0"),
        (["data", "--dataset", "absent", "--interval", "0"], "--interval: needs a whole number"),
        (["data", "--dataset", "absent", "--clips_per_batch", "0"], "--clips_per_batch: needs"),
        (["data", "--dataset", "absent", "--seconds", "0"], "--seconds: needs a number above 0"),
        (["data", "--cpu"], "no argument '--cpu'"),
        (["data", "--dataset", "absent"], "no prepared dataset in absent"),
        (["data", "--json", "absent/out.json"], "cannot write absent/out.json"),
        (["data", "--dataset", "x", "--plot", "x.png"], "leave out --dataset, or --plot"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        cli.dispatch(["bench", *arguments])


def test_help_names_every_benchmark(capsys):
    with pytest.raises(SystemExit):
        bench.main([])
    printed = capsys.readouterr().out
    assert all(f"  {name}" in printed for name in bench.BENCHES)


def test_every_benchmark_explains_itself_without_loading_jax():
    code = """if True:
        import sys
        from maed_jax import bench
        for name in bench.BENCHES:
            try:
                bench.main([name, "--help"])
            except SystemExit as exit:
                assert not exit.code
        assert "jax" not in sys.modules
    """
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(f"maed bench {name}" in out.stdout for name in bench.BENCHES)
