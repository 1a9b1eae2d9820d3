import numpy as np
import pytest
from test_conversion import SIZES, original

from maed_jax.errors import UserError
from maed_jax.weights import conversion, convert


def test_it_prints_the_report_and_where_it_wrote(tmp_path, capsys, monkeypatch):
    np.savez(tmp_path / "w.npz", **original()[1])
    small = conversion.convert
    monkeypatch.setattr(conversion, "convert", lambda *a, **k: small(*a, **k, sizes=SIZES))
    convert.main([str(tmp_path / "w.npz"), "--out", str(tmp_path / "run")])
    out = capsys.readouterr().out
    assert "the original's encoder 'ste', mode 'parallel', with decoder 'iterative'" in out
    assert "initialised anew: nothing" in out and "note: the original was trained with SMPL" in out
    assert out.endswith(
        f"wrote {tmp_path / 'run'}: encoder ste, mode parallel, decoder iterative\n"
    )


def test_seeds_are_those_of_the_other_verbs(tmp_path):
    for wrong in ("-1", str(2**32)):
        with pytest.raises(UserError, match="--seed: needs a whole number"):
            convert.main(["w.npz", "--out", str(tmp_path / "run"), "--seed", wrong])


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        convert.main(["--help"])
    out = capsys.readouterr().out
    for word in (".pth.tar", "timm", "R50+ViT-B_16.npz", "config.init_from", "docs/weights.md"):
        assert word in out
