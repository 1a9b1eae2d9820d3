"""People's colours, the same in every image, export and page."""

from __future__ import annotations

# RGB; easy to tell apart, also with most kinds of colour blindness.
COLORS = (
    (86, 160, 222),
    (240, 150, 80),
    (104, 190, 132),
    (226, 110, 142),
    (170, 138, 220),
    (238, 204, 98),
    (92, 200, 204),
    (206, 132, 98),
    (150, 186, 86),
    (232, 150, 210),
)


def color_of(person_id: int) -> tuple[int, int, int]:
    """Returns the RGB colour of a person, 0 to 255."""
    return COLORS[(person_id - 1) % len(COLORS)]
