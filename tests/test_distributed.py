"""Options for several processes; test_scaling.py tests that they train as one."""

import argparse

import pytest

from maed_jax.errors import UserError
from maed_jax.training import distributed


def options(*words):
    parser = argparse.ArgumentParser()
    distributed.add_arguments(parser)
    return parser.parse_args(words)


def test_without_the_flag_nothing_happens():
    distributed.initialize(options())


def test_what_goes_together():
    with pytest.raises(UserError, match="together, and with --distributed"):
        distributed.initialize(options("--process_id=0"))
    with pytest.raises(UserError, match="together"):
        distributed.initialize(options("--distributed", "--num_processes=2"))


def test_no_one_to_join():
    with pytest.raises(UserError, match="cannot join the other processes: .*give --coordinator"):
        distributed.initialize(options("--distributed"))
