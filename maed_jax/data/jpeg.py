"""Cuts JPEG streams to a window, so that nothing outside it is decoded.

A JPEG is a sequence of Huffman codes: to find any of them, a decoder must read all before it, which
is most of the work of decoding. Restart markers divide the sequence into independent pieces. Images
that we encode have them every few units (`restart_interval`); `window` copies the pieces needed
into a smaller JPEG. Other images can at least be cut at the bottom. The pixels are bit-identical to
those of the whole image, except the outermost, where chroma is interpolated.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

UNIT = 16  # side of a coded unit (MCU) of a colour image with chroma at half resolution, pixels
_PIECES = 12  # most pieces in a row; each costs about four bytes


def restart_interval(width: int) -> int:
    """Returns the units per piece, a divisor of a row's, for an image `width` pixels wide."""
    units = -(-width // UNIT)
    return next(n for n in range(1, units + 1) if units % n == 0 and n * _PIECES >= units)


class _Header(NamedTuple):
    size_at: int  # position of height and width, two bytes each
    height: int
    width: int
    unit: tuple[int, int]  # height and width, pixels
    interval: int  # units in a piece; 0: there is only one piece
    end: int  # where the codes begin


def window(
    data: bytes, left: float, top: float, right: float, bottom: float
) -> tuple[bytes, tuple[int, int]]:
    """Cuts a JPEG to the pieces that contain a window.

    Args:
      data: a whole JPEG.
      left, top, right, bottom: pixels, both ends included; may extend beyond the image.

    Returns:
      A JPEG that decoders accept, and x and y of its first pixel in the whole image, multiples
      of 8. The same bytes and (0, 0) if it cannot be cut or all of it is needed.
    """
    header = _read_header(data)
    if header is None:
        return data, (0, 0)
    unit_height, unit_width = header.unit
    if not header.interval:
        return _without_bottom(data, header, bottom), (0, 0)
    piece_width = header.interval * unit_width
    if -(-header.width // unit_width) % header.interval:  # pieces continue in the next row
        return data, (0, 0)
    rows, columns = -(-header.height // unit_height), -(-header.width // piece_width)
    first_row, last_row = _span(top, bottom, unit_height, rows)
    first_column, last_column = _span(left, right, piece_width, columns)
    if (last_row - first_row, last_column - first_column) == (rows, columns):
        return data, (0, 0)
    ends = _ends_of_pieces(data, header.end)
    if len(ends) != rows * columns:  # damaged; decoding it will report that
        return data, (0, 0)
    x, y = first_column * piece_width, first_row * unit_height
    height = min(last_row * unit_height, header.height) - y
    width = min(last_column * piece_width, header.width) - x
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    cut = bytearray(data[: header.size_at] + size + data[header.size_at + 4 : header.end])

    number = 0
    for row in range(first_row, last_row):  # consecutive pieces, with the markers after them
        first, last = row * columns + first_column, row * columns + last_column
        start = ends[first - 1] + 2 if first else header.end
        moved = len(cut) - start
        cut += data[start : ends[last - 1] + 2]
        for end in ends[first:last]:  # markers are numbered 0 to 7 cyclically
            cut[end + moved + 1] = 0xD0 + number % 8
            number += 1
    cut[-1] = 0xD9  # end of image
    return bytes(cut), (x, y)


def _without_bottom(data: bytes, header: _Header, bottom: float) -> bytes:
    """Returns the JPEG with fewer rows in its header and without the marker at its end.

    The decoder stops after these rows and looks for that marker; if it were there, it would
    complain about the codes in between.
    """
    height = header.unit[0] * (max(int(bottom // header.unit[0]), 0) + 1)
    if height >= header.height:
        return data
    at = header.size_at
    return data[:at] + height.to_bytes(2, "big") + data[at + 2 : -2]


def _span(low: float, high: float, size: int, count: int) -> tuple[int, int]:
    """Returns first and last + 1 of the intervals, of `count` of length `size`, that contain `low`
    to `high`; at least one."""
    first = min(max(int(low // size), 0), count - 1)
    return first, min(max(int(high // size) + 1, first + 1), count)


def _read_header(data: bytes) -> _Header | None:
    """Returns what cutting needs, or None for a JPEG that is not a simple baseline one."""
    if data[:2] != b"\xff\xd8" or data[-2:] != b"\xff\xd9":
        return None
    position, interval, frame = 2, 0, None
    while position + 4 <= len(data) and data[position] == 0xFF:
        kind = data[position + 1]
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        body = position + 4
        if kind == 0xDD:
            interval = int.from_bytes(data[body : body + 2], "big")
        elif kind == 0xC0:  # baseline; other kinds store their codes differently
            frame = body
        elif kind == 0xDA:
            break
        position += 2 + length
    else:
        return None
    if frame is None or max(frame + 14, body + 1) > len(data):
        return None
    if data[frame + 5] != 3 or data[body] != 3:
        return None  # not three components in one scan
    sampling = data[frame + 7 : frame + 14 : 3]
    unit = (8 * max(s & 15 for s in sampling), 8 * max(s >> 4 for s in sampling))
    height, width = (int.from_bytes(data[frame + i : frame + i + 2], "big") for i in (1, 3))
    if not (height and width and all(unit)):  # specified elsewhere, or damaged
        return None
    return _Header(frame + 1, height, width, unit, interval, position + 2 + length)


def _ends_of_pieces(data: bytes, start: int) -> list[int]:
    """Returns the positions of the markers after each piece; in codes, a zero follows each 255."""
    codes = np.frombuffer(data, np.uint8)
    marks = np.flatnonzero(codes[start:-1] == 0xFF) + start
    return marks[codes[marks + 1] != 0].tolist()
