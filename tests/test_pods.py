"""The cost model in cases that can be computed by hand."""

import pytest

from maed_jax.bench import pods

CHIP = pods.Chip("made up", 1e12, 1e9, 4, 100.0, 10.0, 0.4, "nowhere")


def test_over_fast_links_alone_a_collective_is_a_ring():
    assert pods.seconds_sending("all-gather", 800, 4, CHIP) == pytest.approx(800 * 3 / 4 / 100)
    assert pods.seconds_sending("reduce-scatter", 800, 4, CHIP) == pytest.approx(6.0)
    assert pods.seconds_sending("all-reduce", 800, 4, CHIP) == pytest.approx(12.0)
    assert pods.seconds_sending("collective-permute", 800, 4, CHIP) == pytest.approx(8.0)
    assert pods.seconds_sending("all-reduce", 800, 1, CHIP) == 0


def test_beyond_them_only_a_chips_part_goes_over_the_slow_ones():
    near, far = 800 * 3 / 4 / 100, 800 / 4 * 1 / 2 / 10
    assert pods.seconds_sending("all-reduce", 800, 8, CHIP) == pytest.approx(2 * (near + far))
    assert pods.seconds_sending("collective-permute", 800, 8, CHIP) == pytest.approx(80.0)


def test_a_step():
    step = pods.predict(CHIP, 4, 4e11, {"all-reduce": 8.0})
    assert step.computing == pytest.approx(1.0) and step.sending == pytest.approx(0.12)
    assert step.slowest == pytest.approx(1.12) and step.fastest == pytest.approx(1.0)
    assert step.efficiency == pytest.approx((1 / 1.12, 1.0))
    long = pods.predict(CHIP, 4, 4e11, {"all-reduce": 80.0})
    assert long.fastest == pytest.approx(1.0 + 1.2 - 2 / 3)  # sending not hidden by the gradient


def test_more_chips_never_make_a_step_faster():
    for chip in pods.CHIPS.values():
        steps = [pods.predict(chip, n, 1e13, {"all-reduce": 3e8}) for n in (1, 8, 256, 512, 2048)]
        worst = [step.efficiency[0] for step in steps]
        assert worst == sorted(worst, reverse=True) and worst[0] == 1


def test_what_a_step_reads():
    step = pods.Prediction(8, 2.0, 0.0)
    fed = pods.input_rate(step, 5, 16, 224, stored=20e3, core=160)
    assert fed["frames/s"] == 8 * 5 * 16 / 2
    assert fed["stored bytes/s"] == 320 * 20e3 and fed["bytes/s to chips"] == 320 * 3 * 224**2
    assert fed["cores"] == 2 and fed["cores per chip"] == 0.25


def test_every_chip_has_its_source_and_plausible_rates():
    for chip in pods.CHIPS.values():
        assert len(chip.source) > 40
        assert chip.far_rate < chip.near_rate < chip.memory * 20 and chip.peak > 1e14
        assert 0 < chip.reached < 1
