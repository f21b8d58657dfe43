"""The object map of a block: which runs of its bits are free, and which of them an object takes.

    bitmap   0 0 1 1 0 0 0 1 …        bit i: currency unit i of every CPU's part is given out
    runs     (0, 8 bytes) (4, 12 bytes) …     sorted by bytes, then by place
    object   the first run that is large enough; inside it the first place that is aligned

A place that is not aligned is tried again one unit further as long as the run stays large enough; what
lies before the object then is simply a free run of its own. The posting sorted with a bubble sort, later with
lib/sort.c, which leaves runs of equal size in no particular order; here the lower one is first.
Source: make_obj_map(), get_obj_from_block(), "[patch 2/11]", LKML, 13 Sep 2005.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class FreeRun(NamedTuple):
    """A maximal run of free currency units; ordered as the map is sorted."""

    nr_bytes: int
    start_bit: int


def make_object_map(bitmap: int, *, nr_bits: int, currency_bytes: int) -> tuple[FreeRun, ...]:
    """Return the free runs of a bitmap, the smallest first, the lower one first of equals."""
    free = ~bitmap & (1 << nr_bits) - 1
    runs: list[FreeRun] = []
    start_bit = 0
    while free:
        nr_skipped = (free & -free).bit_length() - 1
        free >>= nr_skipped
        start_bit += nr_skipped
        nr_free = (~free & free + 1).bit_length() - 1
        runs.append(FreeRun(nr_free * currency_bytes, start_bit))
        free >>= nr_free
        start_bit += nr_free
    return tuple(sorted(runs))


def find_place(
    runs: Sequence[FreeRun],
    *,
    size_bytes: int,
    align: int,
    start_addr: int,
    currency_bytes: int,
) -> int | None:
    """Return the bit at which an object goes, None if no run takes it.

    The address of the bit is tested with the mask align - 1, as the kernel's macro does.
    """
    mask = align - 1
    for run in runs:
        if run.nr_bytes < size_bytes:
            continue
        nr_places = (run.nr_bytes - size_bytes) // currency_bytes + 1
        for bit in range(run.start_bit, run.start_bit + nr_places):
            if not start_addr + bit * currency_bytes & mask:
                return bit
    return None
