"""The machine's own rates: positive, named, and the faster implementation counts."""

from maed_jax.bench.yardstick import Yardstick


def test_rates_of_this_machine(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    yard = Yardstick(side=64, megabytes=1)
    assert [yard.read(), yard.read()] == [0, 1]
    summary = yard.summary()
    kinds = {"matmuls, XLA float32", "matmuls, NumPy float32", "copies, XLA", "copies, NumPy"}
    assert set(summary["rates"]) == kinds and summary["unit"] == "float32 matmuls"
    assert all(values["low"] > 1e6 for values in summary["rates"].values())
    for kind in ("matmuls", "copies"):
        medians = [v["median"] for n, v in summary["rates"].items() if n.startswith(kind)]
        assert summary[kind]["median"] == max(medians)
    assert summary["environment"]["OPENBLAS_CORETYPE"] == "Prescott"
    assert len(yard.matmuls()) == len(yard.copies()) == 2
