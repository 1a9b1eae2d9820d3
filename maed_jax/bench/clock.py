"""Timing in rounds: in each, every case has a turn, between readings of the machine's own rates.

Other load on the machine then affects everything alike, so ratios hold where seconds do not.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

TURN = 0.2  # minimum duration of a turn, in seconds; quick cases are repeated


def spread(values: Iterable[float]) -> dict[str, float]:
    """Returns the median, and the quartiles as "low" and "high"."""
    low, median, high = np.percentile(list(values), [25, 50, 75]).tolist()
    return {"median": median, "low": low, "high": high}


@dataclasses.dataclass
class Times:
    """The time that one case took in each round."""

    seconds: list[float] = dataclasses.field(default_factory=list)
    """for doing the case's work once"""
    readings: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    """indices of the yardstick's readings before and after"""


def rounds(
    cases: Mapping[str, Callable[[], Any]],
    number: int,
    read: Callable[[], int],
    *,
    say: Callable[[str], None] = lambda text: None,
    seconds: Callable[[], float] = time.perf_counter,
) -> dict[str, Times]:
    """Gives every case a turn in each of `number` rounds, after one warm-up call.

    Args:
      cases: functions that return only when their work is done. Each is called as often as fits
        into a turn, at least once. If a call does the work several times, its attribute `calls`
        says how often.
      read: measures the machine's own rates and returns the index of that reading; called before
        each turn and after the last.
      seconds: the clock: wall time, or CPU time (`time.process_time`), which counts all of our
        threads and no other process.
    """
    for case in cases.values():
        case()
    times = {name: Times() for name in cases}
    for round_number in range(number):
        say(f"round {round_number + 1} of {number}")
        before = read()
        for name, case in cases.items():
            times[name].seconds.append(_turn(case, seconds))
            after = read()
            times[name].readings.append((before, after))
            before = after
    return times


def _turn(case: Callable[[], Any], seconds: Callable[[], float]) -> float:
    """Returns the mean seconds that the case's work takes."""
    done, start = 0, seconds()
    while done == 0 or seconds() - start < TURN:
        case()
        done += getattr(case, "calls", 1)
    return (seconds() - start) / done


def mean_rates(times: Times, rates: Sequence[float]) -> list[float]:
    """Returns the machine's rate during each turn: the mean of the readings before and after."""
    return [(rates[before] + rates[after]) / 2 for before, after in times.readings]
