"""Parts of a per-CPU system other than the bitmap allocator, side by side.

    areas        what live_areas() told at both moments, by ptr        born, died, resized
    moved        the same allocation under another ptr, only between two runs: by area_names
    the rest     place by place within the system's parts, as for what has no words

An area that was freed and allocated again under the same ptr is no difference between two moments of one run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from snapshots.diff.rows import (
    AREAS,
    BORN,
    CHANGED,
    DIED,
    MOVED,
    SYSTEM,
    DiffRow,
    DiffSide,
    NamedRow,
    leaf_rows,
)

LEADING = re.compile(r"(\[\d+\])+")
NUMBERS = re.compile(r"\d+")
DECIMAL_MAX = 1 << 20  # a larger key is an address


def system_rows(one: DiffSide, other: DiffSide, names: Sequence[str]) -> Iterator[NamedRow]:
    """Yield what is not the same in the system's parts; names are those of the parts that differ."""
    for row in _area_rows(one, other):
        yield names[0], row
    for name in names:
        what = name.replace(".", " ")
        was, now = one.part(name), other.part(name)
        for row in leaf_rows(SYSTEM, what, was, now):
            yield name, row._replace(where=named_place(row.where, was if was is not None else now))


def _area_rows(one: DiffSide, other: DiffSide) -> Iterator[DiffRow]:
    was, now = _objects(one), _objects(other)
    for key, (ptr, size) in was.items():
        if key not in now:
            yield DiffRow(AREAS, DIED, _what(size), f"{ptr:#x}", _brief(one, ptr), None)
    for key, (ptr, size) in now.items():
        before = was.get(key)
        if before is None:
            yield DiffRow(AREAS, BORN, _what(size), f"{ptr:#x}", None, _brief(other, ptr))
        elif before[0] != ptr:
            yield DiffRow(
                AREAS, MOVED, _what(size), _brief(other, ptr), f"{before[0]:#x}", f"{ptr:#x}"
            )
        elif before[1] != size:
            yield DiffRow(AREAS, CHANGED, "size of an area", f"{ptr:#x}", before[1], size)


def _objects(side: DiffSide) -> Mapping[object, tuple[int, int]]:
    """Return (ptr, size) by what makes an area the same on both sides: its name, else its ptr."""
    return {side.area_names.get(ptr, ptr): (ptr, size) for ptr, size in side.live_areas.items()}


def _what(size_bytes: int) -> str:
    return f"area of {size_bytes} bytes"


def _brief(side: DiffSide, ptr: int) -> str:
    name = side.area_names.get(ptr)
    if name is None:
        return f"first copy at {side.first_copies.get(ptr, 0):#x}"
    return f"from {name.call_site}, its #{name.ordinal}"


def named_place(where: str, value: object) -> str:
    """Return a place like [1][1][0] within a dumped value by its names: fields, and keys of rows.

    Where names end the numbers stay, so that two places never read alike.
    """
    path = LEADING.match(where)
    text, at = "", 0
    indexes = [int(each) for each in NUMBERS.findall(path[0])] if path else []
    while at < len(indexes):
        index = indexes[at]
        if isinstance(value, dict) and index < len(value) and at + 1 < len(indexes):
            key, value = list(value.items())[index]
            text += f".{key}" if text else str(key)
            at += 2  # the next number says that it is the value of the pair
        elif isinstance(value, tuple | list) and index < len(value):
            row = value[index]
            key = _key(row, index)
            text += f"[{key}]"
            value, at = row, at + 1
            if key != str(index) and indexes[at : at + 1] == [1]:  # what stands under the key
                value, at = row[1], at + 1
        else:
            break
    rest = "".join(f"[{each}]" for each in indexes[at:])
    return text + rest + where[path.end() if path else 0 :]


def _key(row: object, index: int) -> str:
    """Return the key of a row that is a pair of a key and what stands under it, else its number."""
    key = row[0] if isinstance(row, tuple) and len(row) == 2 else index
    if type(key) is int and key > DECIMAL_MAX:
        return f"{key:#x}"
    return str(key) if type(key) in (int, str) else str(index)
