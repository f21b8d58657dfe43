"""Are two dumps of a part the same state?"""

from __future__ import annotations


def is_same(one: object, other: object) -> bool:
    """Say whether two dumps are the same state: a list and a tuple of equal members are.

    A part that comes from a file has tuples where its dump has lists.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    return one == other
