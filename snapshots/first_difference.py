"""Where two values of builtin types part: the place of the first difference, and both sides of it.

{"zones": [[1, 2], …]}  and  {"zones": [[1, 3], …]}   part at  ['zones'][0][1]: 2, 3
"""

from __future__ import annotations

from typing import NamedTuple

SHOWN_CHARS_MAX = 60
NESTING_MAX = 32


class Difference(NamedTuple):
    """A place as Python would write it, and what stands there on either side."""

    place: str
    one: str
    other: str


def first_difference(one: object, other: object, place: str = "", depth: int = 0) -> Difference:
    """Return the first place at which two unequal values differ; rows of any kind are compared alike."""
    if depth < NESTING_MAX:
        if isinstance(one, dict) and isinstance(other, dict):
            return _in_maps(one, other, place, depth)
        if isinstance(one, list | tuple) and isinstance(other, list | tuple):
            return _in_rows(one, other, place, depth)
        if isinstance(one, bytes) and isinstance(other, bytes) and len(one) == len(other):
            for at, (left, right) in enumerate(zip(one, other, strict=True)):
                if left != right:
                    return Difference(f"{place} byte {at:#x}", f"{left:#04x}", f"{right:#04x}")
    return Difference(place, _shown(one), _shown(other))


def _in_maps(
    one: dict[object, object], other: dict[object, object], place: str, depth: int
) -> Difference:
    for key in {**one, **other}:
        here = f"{place}[{key!r:.40}]"
        if key not in one or key not in other:
            sides = [_shown(side[key]) if key in side else "nothing" for side in (one, other)]
            return Difference(here, *sides)
        if one[key] != other[key]:
            return first_difference(one[key], other[key], here, depth + 1)
    return Difference(place, "its keys in one order", "in another")


def _in_rows(
    one: list[object] | tuple[object, ...],
    other: list[object] | tuple[object, ...],
    place: str,
    depth: int,
) -> Difference:
    for at, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right and not _same_rows(left, right):
            return first_difference(left, right, f"{place}[{at}]", depth + 1)
    return Difference(place, f"{len(one)} items", f"{len(other)} items")


def _same_rows(left: object, right: object) -> bool:
    """Say whether a list and a tuple hold the same: a file knows no difference between them."""
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(
            a == b or _same_rows(a, b) for a, b in zip(left, right, strict=True)
        )
    return False


def _shown(value: object) -> str:
    return f"{value!r:.{SHOWN_CHARS_MAX}}"
