"""The state of a system that is small enough for one part of a keyframe.

    dump      nothing changed ──► the object in the cache; else the state as plain data
    load      the part in the cache, and nothing changed since ──► nothing to do
    honest    what claims to be unchanged is held against a fresh dump

Larger systems have a part for each chunk or block, so that what nothing touched is not written again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from kernel_sim.component import to_plain
from kernel_sim.errors import KernelBug
from kernel_sim.same_state import is_same

PART: Final = "system"


def dump_one_part(
    state: Callable[[], object], cache: Mapping[str, object], *, is_changed: bool
) -> dict[str, object]:
    """Return the state as the one part; the same object as in the cache if nothing changed."""
    known = cache.get(PART)
    return {PART: to_plain(state()) if known is None or is_changed else known}


def differing_part(
    parts: Mapping[str, object], cache: Mapping[str, object], name: str, *, is_changed: bool
) -> object | None:
    """Return the part to load, None if the system is in that state already.

    Raises KernelBug if there is none; name is the system's.
    """
    if PART not in parts:
        raise KernelBug(f"no part {PART!r}; expected the state of {name}")
    is_current = cache.get(PART) is parts[PART] and not is_changed
    return None if is_current else parts[PART]


def unnoticed_in_one_part(
    state: Callable[[], object], cache: Mapping[str, object], *, is_changed: bool
) -> str:
    """Return the part's name if it changed without saying so, else ""."""
    if is_changed or PART not in cache:
        return ""
    return "" if is_same(cache[PART], to_plain(state())) else PART
