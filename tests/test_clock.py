"""Rounds and spreads, with a clock that the test controls."""

import pytest

from maed_jax.bench import clock


def test_spread_is_median_and_quartiles():
    assert clock.spread([5, 1, 2, 4, 3]) == {"median": 3, "low": 2, "high": 4}


class Hands:
    """A clock that advances only while a case works."""

    def __init__(self):
        self.time, self.log, self.readings = 0.0, [], 0

    def work(self, name, seconds):
        def run():
            self.log.append(name)
            self.time += seconds

        return run

    def read(self):
        self.readings += 1
        self.log.append("read")
        return self.readings - 1


def test_all_cases_have_their_turn_in_each_round_between_readings(monkeypatch):
    hands = Hands()
    cases = {"slow": hands.work("slow", 3.0), "quick": hands.work("quick", 0.5)}
    messages = []
    monkeypatch.setattr(clock, "TURN", 1.0)
    times = clock.rounds(cases, 2, hands.read, say=messages.append, seconds=lambda: hands.time)
    turn = ["read", "slow", "read", "quick", "quick", "read"]  # as often as fits into a turn
    assert hands.log == ["slow", "quick", *turn, *turn]
    assert times["slow"].seconds == [3.0, 3.0] and times["quick"].seconds == [0.5, 0.5]
    assert times["slow"].readings == [(0, 1), (3, 4)]
    assert times["quick"].readings == [(1, 2), (4, 5)]
    assert messages == ["round 1 of 2", "round 2 of 2"]


def test_seconds_are_of_one_work_where_a_case_does_several(monkeypatch):
    hands = Hands()
    case = hands.work("four times", 2.0)
    case.calls = 4
    monkeypatch.setattr(clock, "TURN", 3.0)
    times = clock.rounds({"": case}, 1, hands.read, seconds=lambda: hands.time)
    assert times[""].seconds == [0.5]
    assert hands.log == ["four times", "read", "four times", "four times", "read"]


def test_the_rate_about_a_turn_is_the_mean_of_its_neighbours():
    times = clock.Times([1.0, 1.0], [(0, 1), (1, 2)])
    assert clock.mean_rates(times, [10.0, 20.0, 40.0]) == pytest.approx([15.0, 30.0])
