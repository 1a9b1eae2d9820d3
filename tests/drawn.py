"""What Matplotlib's axes show, as values to compare."""

import numpy as np


def curves(axes):
    """Label -> x, y, colour and style of each labelled line."""
    return {
        line.get_label(): (*map(list, line.get_data()), line.get_color(), line.get_linestyle())
        for line in axes.get_lines()
        if not line.get_label().startswith("_")
    }


def bands(axes):
    """Lower and upper edge [points] of each filled band, in the order in which they were drawn."""
    found = []
    for band in axes.collections:
        corners = band.get_paths()[0].vertices
        places = np.unique(corners[:, 0])
        at = [corners[corners[:, 0] == x, 1] for x in places]
        found.append(([float(y.min()) for y in at], [float(y.max()) for y in at]))
    return found


def error_bars(container):
    """Both ends (x, y) of each error bar, [n 2 2]."""
    (bars,) = container.lines[2]
    return np.array(bars.get_segments())


def words(legend):
    return [text.get_text() for text in legend.get_texts()]
