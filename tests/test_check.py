import pickle
import subprocess
import sys

import numpy as np
import parity_rules
import pytest

from maed_jax.body import check, files
from maed_jax.errors import UserError


@pytest.fixture(scope="module")
def smpl_path(tmp_path_factory):
    arrays = parity_rules.smpl_files()
    path = tmp_path_factory.mktemp("smpl") / "SMPL_NEUTRAL.pkl"
    path.write_bytes(pickle.dumps({key: arrays[key] for key in files.MODEL_KEYS}, 2))
    np.save(path.parent / "J_regressor_h36m.npy", arrays["J_regressor_h36m"])
    return path


def test_what_is_there_and_what_is_missing(smpl_path, capsys):
    check.main(["check", str(smpl_path.parent)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(smpl_path)
    facts = {line.split()[0]: line.split()[-1] for line in lines[1:7]}
    assert facts["vertices"] == "6890" and facts["faces"] == "13776" and facts["joints"] == "24"
    template = parity_rules.body_model()["v_template"]
    height = np.ptp(template[:, 1])
    assert any(line.split()[:2] == ["height", f"{height:.2f}"] for line in lines)
    assert any(line.split()[0] == "found" and "Human3.6M" in line for line in lines)
    missing = [line for line in lines if line.split()[0] == "missing"]
    assert len(missing) == 2
    assert "training, evaluation, prediction and export" in missing[0]
    assert "J_regressor_extra.npy" in missing[0]
    assert "iterative decoder" in missing[1] and "smpl_mean_params.npz" in missing[1]
    assert all("docs/body.md" in line for line in missing)
    assert "warning" not in "\n".join(lines)


def test_the_mannequin(capsys):
    check.main(["check", "mannequin"])
    out = capsys.readouterr().out
    assert "missing" not in out and "warning" not in out and "mannequin" in out


def test_what_can_hardly_be_meant(tmp_path, capsys):
    arrays = parity_rules.smpl_files()
    arrays = {key: arrays[key] for key in files.MODEL_KEYS}
    arrays["v_template"] = arrays["v_template"] * 100
    arrays["weights"] = arrays["weights"] * 2
    arrays["J_regressor"] = arrays["J_regressor"].toarray()
    np.savez(tmp_path / "SMPL_NEUTRAL.npz", **arrays)
    check.main(["check", str(tmp_path)])
    out = capsys.readouterr().out
    assert "is this in metres" in out and "skin weights of 6890 vertices" in out


def test_broken_files_are_one_sentence_each_and_the_others_are_reported(
    smpl_path, tmp_path, capsys
):
    with pytest.raises(UserError) as caught:
        check.main(["check", str(tmp_path / "none.pkl"), str(smpl_path), "/nowhere"])
    out, err = capsys.readouterr()
    assert str(smpl_path) in out
    assert "none.pkl does not exist" in err and "/nowhere does not exist" in str(caught.value)


def test_exit_status_of_the_command(tmp_path):
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    sentinel = tmp_path / "sentinel"
    path.write_bytes(f"cos\nsystem\n(Vtouch {sentinel}\ntR.".encode())
    run = subprocess.run(
        [sys.executable, "-m", "maed_jax.cli", "body", "check", str(path)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 1 and run.stdout == ""
    assert run.stderr == (
        f"maed: {path} asks to construct os.system, which a body file never needs; it was not "
        "opened\n"
    )
    assert not sentinel.exists()
