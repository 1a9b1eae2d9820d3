"""Timing in rounds: all that is measured has its turn, and the machine's own rates beside it.

What else the machine does hits everything alike, so that ratios hold where seconds do not.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

TURN = 0.2  # seconds that quick cases have in a round, at least


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, and the quartiles as "low" and "high"."""
    low, median, high = np.percentile(list(values), [25, 50, 75]).tolist()
    return {"median": median, "low": low, "high": high}


@dataclasses.dataclass
class Times:
    """What one case took in each round."""

    seconds: list[float] = dataclasses.field(default_factory=list)
    """of the case's work, done once"""
    readings: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    """numbers of the yardstick's readings before and after"""


def rounds(
    cases: Mapping[str, Callable[[], Any]],
    number: int,
    read: Callable[[], int],
    *,
    say: Callable[[str], None] = lambda text: None,
    seconds: Callable[[], float] = time.perf_counter,
) -> dict[str, Times]:
    """Gives every case its turn in each of `number` rounds, after one call to warm up.

    Args:
      cases: functions that return when their work is done, not before. They are called as often as
        fits into a turn, once at least. One that does its work several times says so by `calls`.
      read: measures the machine's own rates and returns the number of that reading; called before
        each turn and after the last.
      seconds: the clock: of the wall, or of the processor (`time.process_time`), which counts the
        work of all our threads and nothing that others do.
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
    """Mean seconds of the case's work."""
    done, start = 0, seconds()
    while done == 0 or seconds() - start < TURN:
        case()
        done += getattr(case, "calls", 1)
    return (seconds() - start) / done


def around(times: Times, rates: Sequence[float]) -> list[float]:
    """The rate of the machine about each turn: the mean of the readings before and after."""
    return [(rates[before] + rates[after]) / 2 for before, after in times.readings]
