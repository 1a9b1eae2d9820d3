"""Operations, memory and peaks."""

import jax
import jax.numpy as jnp
import pytest

from maed_jax.training import cost


def test_a_program_is_compiled_once_and_knows_its_cost():
    traced = []

    def product(x, y):
        traced.append(1)
        return x @ y

    program = cost.Compiled(jax.jit(product), options=None)
    assert program.operations == 0
    x = jnp.ones((64, 32))
    for _ in range(2):
        assert program(x, x.T).shape == (64, 64)
    assert program.operations == pytest.approx(2 * 64 * 64 * 32, rel=0.02)
    assert len(traced) == 1 and "GiB on each device; compiled in" in program.summary()


def test_what_a_loop_repeats_is_counted_on_another_function():
    def in_a_loop(x):
        return jax.lax.fori_loop(0, 5, lambda _, y: y @ x, x)

    def one_by_one(x):
        return jnp.linalg.multi_dot([x] * 6)

    program = cost.Compiled(jax.jit(in_a_loop), None, counted=jax.jit(one_by_one))
    x = jnp.eye(32)
    assert (program(x) == x).all()
    assert program.operations == pytest.approx(5 * 2 * 32**3, rel=0.02)


@pytest.mark.parametrize(
    "kind, teraflops",
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L4", 121),
        ("NVIDIA L40", 181),
        ("NVIDIA L40S", 362),
        ("TPU v5 lite", 197),
        ("TPU v5p", 459),
    ],
)
def test_peaks(kind, teraflops):
    assert cost.peak(kind) == teraflops * 1e12


@pytest.mark.parametrize("kind", ["cpu", "NVIDIA L400", "TPU v55", "NVIDIA B200X"])
def test_of_what_is_not_known_there_is_no_peak(kind):
    assert cost.peak(kind) is None


def test_throughput(monkeypatch):
    assert cost.throughput(0.0, 3.0, 8) == {}
    assert cost.throughput(2e12, 3.0, 8) == {"teraflops_per_second": 6.0}  # no known peak for CPUs
    monkeypatch.setitem(cost.PEAKS, jax.devices()[0].device_kind, 1e12)
    assert cost.throughput(2e12, 3.0, 8)["share_of_peak"] == pytest.approx(6 / 8)
