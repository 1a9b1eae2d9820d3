"""On how many examples a property is tried.

Few in the suite, the same each time; `MAED_EXAMPLES=100` tries a hundred times as many new ones.
"""

import os

from hypothesis import settings

TIMES = int(os.environ.get("MAED_EXAMPLES", "1"))

settings.register_profile("maed", deadline=None, derandomize=TIMES == 1, max_examples=100 * TIMES)
settings.load_profile("maed")


def examples(count: int):
    """Decorates a test that is content with fewer examples than the usual 100."""
    return settings(max_examples=count * TIMES)
