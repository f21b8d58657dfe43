"""A column of a table as few bytes: equal values once, small ranges in few bits, texts by number.

    [7, 7, 7, 7]                 '='  the value
    [0x1000, 0x1040, 0x1008]     2    what to add, then the numbers in planes of bytes
    [True, False]                '?'  a byte each
    ["a+0x1", "b+0x2", "a+0x1"]  'd'  the texts, then a column of their numbers
    b[i] = k * a[i] + rest[i]    'r'  where a stands, k, then the column of the rests (modulo 2^64)
    b[i] = a[i]                  's'  where a stands
    anything else                '*'  as it is

Planes hold the low bytes of all rows, then the next ones, … : deflate finds what repeats in each. What is
packed is made of builtin types; the caller knows how many rows there are.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from operator import sub
from typing import TypeAlias, cast

from snapshots.errors import RecordingError

Packed: TypeAlias = "list[object] | tuple[object, ...]"
Place: TypeAlias = (
    "tuple[int, int]"  # group and column, of a column that is unpacked before this one
)
Find: TypeAlias = Callable[[int, int], Sequence[object]]

CONSTANT, BOOLS, TEXTS, RELATED, SAME, RAW = "=", "?", "d", "r", "s", "*"
TYPE_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}  # by width in bytes
DEPTH_MAX = 4  # a column may rest on another, whose rest rests on a third
INT_BITS = 64
INT_MASK = (1 << INT_BITS) - 1  # addresses wrap around, so rests do


def pack_column(values: Sequence[object]) -> Packed:
    """Return what unpack_column() makes the same values of."""
    if not values:
        return (RAW, ())
    kinds = set(map(type, values))
    if len(kinds) > 1:
        return (RAW, values)
    kind = kinds.pop()
    if kind is int:
        return _pack_ints(cast("Sequence[int]", values))
    if kind is str:
        return _pack_texts(cast("Sequence[str]", values))
    if kind is bool:
        return (BOOLS, bytes(cast("Sequence[bool]", values)))
    return (RAW, values)


def _pack_ints(values: Sequence[int]) -> Packed:
    least, most = min(values), max(values)
    if least == most:
        return (CONSTANT, least)
    spread = most - least
    if spread >= 1 << INT_BITS:
        return (RAW, values)
    width = _width(spread)
    if least >= 0 and _width(most) == width:
        return (width, 0, _planes(array(TYPE_CODES[width], values), width))
    return (
        width,
        least,
        _planes(array(TYPE_CODES[width], [each - least for each in values]), width),
    )


def _width(most: int) -> int:
    """Return how many bytes numbers up to that take: 1, 2, 4 or 8; more for what fits in none."""
    return next((width for width in TYPE_CODES if most < 1 << 8 * width), 16)


def _planes(rows: array[int], width: int) -> bytes:
    data = little_endian(rows).tobytes()
    return data if width == 1 else b"".join(data[plane::width] for plane in range(width))


def little_endian(rows: array[int]) -> array[int]:
    """Return the array with its bytes in the file's order, whatever this computer's is."""
    if array("H", [1]).tobytes() == b"\0\1":
        rows.byteswap()
    return rows


def _pack_texts(values: Sequence[str]) -> Packed:
    texts = tuple(dict.fromkeys(values))
    if len(texts) == 1:
        return (CONSTANT, values[0])
    numbers = {text: number for number, text in enumerate(texts)}
    return (TEXTS, texts, _pack_ints(list(map(numbers.__getitem__, values))))


def pack_related(
    values: Sequence[int], sources: Sequence[tuple[Place, Sequence[int], int]]
) -> Packed:
    """Return the column as multiples of others and what is left over: (place, its values, factor) each.

    The values are 0 to 2^64-1.
    """
    if not sources:
        return pack_column(values)
    (group, column), others, factor = sources[0]
    times = others if factor == 1 else [factor * other for other in others]
    rests = list(map(sub, values, times))
    if min(rests) < 0 or max(rests) > INT_MASK:
        rests = [rest & INT_MASK for rest in rests]
    return (RELATED, group, column, factor, pack_related(rests, sources[1:]))


def unpack_column(packed: object, nr_rows: int, find: Find, depth: int = 0) -> Sequence[object]:
    """Return the values of a column. Raises RecordingError for anything pack_column() does not write.

    find returns a column that was unpacked before, by group and number in it, or raises LookupError.
    """
    match packed:
        case [str(kind), value] if kind == CONSTANT and not isinstance(value, list):
            return [value] * nr_rows
        case [str(kind), bytes(data)] if kind == BOOLS and len(data) == nr_rows:
            return [bool(byte) for byte in data]
        case [str(kind), list(values)] if kind == RAW and len(values) == nr_rows:
            return values
        case [int(width), int(least), bytes(data)] if width in TYPE_CODES:
            return _unpack_ints(width, least, data, nr_rows)
        case [str(kind), int(group), int(column)] if kind == SAME:
            return _as_long(find(group, column), nr_rows)
        case [str(kind), list(texts), numbers] if kind == TEXTS and depth < DEPTH_MAX:
            return _unpack_texts(texts, unpack_column(numbers, nr_rows, find, depth + 1))
        case [str(kind), int(group), int(column), int(factor), rest] if kind == RELATED:
            if depth < DEPTH_MAX:
                rests = unpack_column(rest, nr_rows, find, depth + 1)
                return _unpack_related(find(group, column), factor, rests)
    raise RecordingError(f"a column of {nr_rows} rows is packed in no way that is known")


def _unpack_ints(width: int, least: int, data: bytes, nr_rows: int) -> list[int]:
    if len(data) != width * nr_rows:
        raise RecordingError(f"a column of {nr_rows} rows of {width} bytes has {len(data)} bytes")
    joined = bytearray(len(data))
    for plane in range(width):
        joined[plane::width] = data[plane * nr_rows : (plane + 1) * nr_rows]
    rows = array(TYPE_CODES[width])
    rows.frombytes(joined)
    values = little_endian(rows).tolist()
    if values and least + max(values) > INT_MASK:
        raise RecordingError(f"a column of {nr_rows} rows has ints of more than {INT_BITS} bits")
    return [value + least for value in values] if least else values


def _unpack_texts(texts: list[object], numbers: Sequence[object]) -> list[object]:
    if not all(isinstance(text, str) for text in texts):
        raise RecordingError("a column of texts holds something else")
    if not all(type(number) is int and 0 <= number < len(texts) for number in numbers):
        raise RecordingError(f"a column names a text that is not among its {len(texts)}")
    return [texts[cast("int", number)] for number in numbers]


def _as_long(values: Sequence[object], nr_rows: int) -> Sequence[object]:
    if len(values) != nr_rows:
        raise RecordingError(f"a column of {nr_rows} rows is said to be one of {len(values)}")
    return values


def _unpack_related(others: Sequence[object], factor: int, rests: Sequence[object]) -> list[object]:
    if len(others) != len(rests) or not all(
        type(value) is int for values in (others, rests) for value in values
    ):
        raise RecordingError("a column rests on one that has no such rows of ints")
    return [
        factor * cast("int", other) + cast("int", rest) & INT_MASK
        for other, rest in zip(others, rests, strict=True)
    ]
