"""Watermarks: the figures of real machines, and who may take the last pages of a zone."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from kernel_sim.mm.buddy import Buddy
from kernel_sim.mm.gfp import (
    GFP_ATOMIC,
    GFP_HIGH,
    GFP_KERNEL,
    GFP_MEMALLOC,
    GFP_NOMEMALLOC,
    GFP_NOWAIT,
)
from kernel_sim.mm.page_lists import list_sizes
from kernel_sim.mm.watermarks import (
    ALLOC_HARDER,
    ALLOC_HIGH,
    ALLOC_NO_WATERMARKS,
    PROFILE_2_6_20,
    PROFILE_MODERN,
    ZoneMarks,
    ZoneSize,
    alloc_flags_of,
    khugepaged_min_free_kbytes,
    nr_free_buffer_pages,
    sqrt_min_free_kbytes,
    watermark_ok,
    zone_marks,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "kernel-6.1"
FREED_LATE_PAGES_MAX = 12288
"""Initial ramdisk and init sections become free after the marks were set: at most 48 MiB."""
ZONES = ("DMA", "DMA32", "Normal")
CPUS_OF_NODE = {
    "formats-2cpu": 2,
    "hashed-kaslr-2cpu": 2,
    "lost-events-2cpu": 2,
    "nr_cpus3-of-8": 3,
    "pcpu-page-4cpu": 4,
    "smp4-2node": 2,
    "smp8-4node-dist": 2,
    "tracecmd-2cpu": 2,
    "up1": 1,
}


@dataclass(frozen=True)
class RealZone:
    node: int
    index: int
    managed: int
    marks: ZoneMarks
    lists: tuple[tuple[int, int], ...]


def real_zones(run: str) -> list[RealZone]:
    """Return what /proc/zoneinfo says of the zones with memory."""
    text = gzip.decompress((GOLDEN / run / "before" / "zoneinfo.gz").read_bytes()).decode()
    zones = []
    for block in re.split(r"^(?=Node )", text, flags=re.MULTILINE)[1:]:
        head = re.match(r"Node (\d+), zone +(\w+)", block)
        numbers = {
            name: int(value)
            for name, value in re.findall(r"^ {8}(min|low|high|managed) +(\d+)", block, re.M)
        }
        protection = re.search(r"protection: \((.*)\)", block)
        assert head is not None
        assert protection is not None
        if not numbers["managed"]:
            continue
        above = tuple(int(word) for word in protection[1].split(", "))
        lists = re.findall(r"count: \d+\n +high: +(\d+)\n +batch: (\d+)", block)
        zones.append(
            RealZone(
                node=int(head[1]),
                index=ZONES.index(head[2]),
                managed=numbers["managed"],
                marks=ZoneMarks(numbers["min"], numbers["low"], numbers["high"], above[:3]),
                lists=tuple((int(high), int(batch)) for high, batch in lists),
            )
        )
    return zones


def sizes_at_boot(real: list[RealZone], managed: list[int]) -> tuple[ZoneSize, ...]:
    return tuple(
        ZoneSize(zone.node, zone.index, pages, pages)
        for zone, pages in zip(real, managed, strict=True)
    )


def could_have_been(real: list[RealZone], total: int) -> list[int] | None:
    """Return managed pages of the zones at boot, `total` in all, from which min follows, or None.

    DMA does not grow. Of the others the least that gives the real min is taken, then filled up
    from the last zone on.
    """
    scale = [zone.managed * total // sum(z.managed for z in real) for zone in real]
    kbytes = khugepaged_min_free_kbytes(sizes_at_boot(real, scale))
    pages_min = kbytes // 4
    least, most = [], []
    for zone in real:
        low = -(-zone.marks.min_pages * total // pages_min)
        high = -(-(zone.marks.min_pages + 1) * total // pages_min) - 1
        if zone.index == 0:
            low = high = zone.managed
        elif zone.node == 0:
            protected = real[0].marks.protection[1] * 256
            low, high = max(low, protected), min(high, protected + 255)
        least.append(low)
        most.append(min(high, zone.managed))
    rest = total - sum(least)
    managed = list(least)
    for position in reversed(range(len(real))):
        more = min(max(rest, 0), most[position] - least[position])
        managed[position] += more
        rest -= more
    return (
        managed if rest == 0 and min(m - n for m, n in zip(most, least, strict=True)) >= 0 else None
    )


@pytest.mark.parametrize("run", sorted(CPUS_OF_NODE))
def test_marks_protection_and_list_sizes_are_those_of_real_machines(run: str) -> None:
    """zoneinfo has the managed pages of later; those of boot are looked for, and must exist."""
    real = real_zones(run)
    expected = tuple(zone.marks for zone in real)
    final = sum(zone.managed for zone in real)
    found = 0
    for total in range(final - FREED_LATE_PAGES_MAX, final + 1, 16):
        managed = could_have_been(real, total)
        if managed is None:
            continue
        sizes = sizes_at_boot(real, managed)
        kbytes = khugepaged_min_free_kbytes(sizes)
        found += zone_marks(sizes, min_free_kbytes=kbytes, profile=PROFILE_MODERN) == expected
    assert found
    for zone in real:
        (size,) = list_sizes(
            PROFILE_MODERN,
            nr_pages=zone.managed,
            low_pages=zone.marks.low_pages,
            nr_cpus=CPUS_OF_NODE[run],
        )
        assert zone.lists
        assert all(row == (size.high_pages, size.batch_pages) for row in zone.lists)


def test_huge_pages_raise_the_reserve_by_zones_and_to_5_percent_at_most() -> None:
    real = real_zones("up1")
    sizes = sizes_at_boot(real, [zone.managed for zone in real])
    assert khugepaged_min_free_kbytes(sizes) == 2 * 512 * (2 + 9) * 4 == 45056
    assert sqrt_min_free_kbytes(sizes, PROFILE_MODERN) == 3929
    small = (ZoneSize(0, 0, 4096, 4096), ZoneSize(0, 1, 61440, 61440))
    before = zone_marks(small, min_free_kbytes=2048, profile=PROFILE_MODERN)
    above = nr_free_buffer_pages(small, PROFILE_MODERN, before)
    assert sqrt_min_free_kbytes(small, PROFILE_MODERN) == 2048
    assert khugepaged_min_free_kbytes(small) == above // 20 * 4
    tiny = (ZoneSize(0, 0, 256, 256),)
    assert khugepaged_min_free_kbytes(tiny) == 128


def test_the_square_root_is_clamped() -> None:
    terabytes = (ZoneSize(0, 2, 1 << 40, 1 << 40),)
    assert sqrt_min_free_kbytes(terabytes, PROFILE_MODERN) == 262144
    assert sqrt_min_free_kbytes(terabytes, PROFILE_2_6_20) == 65536
    assert sqrt_min_free_kbytes((ZoneSize(0, 0, 16, 16),), PROFILE_2_6_20) == 128


def test_i386_has_a_small_reserve_in_high_memory_that_low_memory_does_not_share() -> None:
    zones = (
        ZoneSize(0, 0, 4096, 4096),
        ZoneSize(0, 1, 225280, 225280),
        ZoneSize(0, 2, 1 << 20, 1 << 20, is_highmem=True),
    )
    assert sqrt_min_free_kbytes(zones, PROFILE_2_6_20) == 3831  # isqrt(16 * 917504)
    dma, normal, high = zone_marks(zones, min_free_kbytes=3831, profile=PROFILE_2_6_20)
    assert (dma.min_pages, dma.low_pages, dma.high_pages) == (17, 21, 25)
    assert dma.protection == (0, 880, (225280 + (1 << 20)) // 256)
    assert normal.protection == (0, 0, (1 << 20) // 32)
    assert high.min_pages == 128
    assert high.low_pages == 128 + (957 * (1 << 20) // 229376 >> 2)
    assert high.protection == (0, 0, 0)


def test_2_6_20_counts_present_pages_and_later_kernels_managed_ones() -> None:
    zone = (ZoneSize(0, 2, nr_present_pages=100000, nr_managed_pages=90000),)
    old = zone_marks(zone, min_free_kbytes=4000, profile=PROFILE_2_6_20)
    new = zone_marks(zone, min_free_kbytes=4000, profile=PROFILE_MODERN)
    assert old == (ZoneMarks(1000, 1250, 1500, (0, 0, 0)),)
    assert new == (ZoneMarks(1000, 1250, 1500, (0, 0, 0)),)
    wide = zone_marks(zone, min_free_kbytes=400, profile=PROFILE_MODERN)
    assert wide == (ZoneMarks(100, 190, 280, (0, 0, 0)),)


@pytest.mark.parametrize(
    ("gfp", "old", "new"),
    [
        (GFP_KERNEL, 0, 0),
        (GFP_ATOMIC, ALLOC_HIGH | ALLOC_HARDER, ALLOC_HIGH | ALLOC_HARDER),
        (GFP_NOWAIT, ALLOC_HARDER, 0),
        (GFP_KERNEL | GFP_HIGH, ALLOC_HIGH, ALLOC_HIGH),
        (GFP_ATOMIC | GFP_NOMEMALLOC, ALLOC_HIGH | ALLOC_HARDER, ALLOC_HIGH),
        (GFP_KERNEL | GFP_MEMALLOC, ALLOC_NO_WATERMARKS, ALLOC_NO_WATERMARKS),
        (GFP_KERNEL | GFP_MEMALLOC | GFP_NOMEMALLOC, 0, 0),
    ],
)
def test_flags_say_who_may_dig_deeper(gfp: int, old: int, new: int) -> None:
    assert alloc_flags_of(gfp, PROFILE_2_6_20) == old
    assert alloc_flags_of(gfp, PROFILE_MODERN) == new


def ok(buddy: Buddy, order: int, mark: int, flags: int = 0, profile: str = PROFILE_MODERN) -> bool:
    return watermark_ok(
        buddy, order=order, mark_pages=mark, reserve_pages=100, alloc_flags=flags, profile=profile
    )


def test_reserves_halve_and_quarter_the_mark() -> None:
    buddy = Buddy(((0, 1024),))
    limits = {0: 923, ALLOC_HIGH: 1846, ALLOC_HARDER: 1230, ALLOC_HIGH | ALLOC_HARDER: 2460}
    for flags, highest_mark in limits.items():
        assert ok(buddy, 0, highest_mark, flags)
        assert not ok(buddy, 0, highest_mark + 3, flags)


def test_a_large_request_needs_a_large_block() -> None:
    buddy = Buddy(((0, 1024),))
    assert ok(buddy, 10, 0) is False  # one page would be left, and 100 are kept back
    assert ok(buddy, 9, 0)
    assert buddy.alloc(9) == 0
    assert not Buddy(((1, 2),)).has_block(1)
    for pfn in range(512, 1024, 8):
        buddy.reserve(pfn, pfn + 1)
    assert not ok(buddy, 3, 0)
    assert ok(buddy, 2, 0)


def test_2_6_20_halves_the_mark_for_every_order_below() -> None:
    buddy = Buddy(((0, 1024),))
    for pfn in range(0, 1024, 4):  # leaves blocks of orders 0 and 1
        buddy.reserve(pfn, pfn + 1)
    assert (buddy.nr_free_pages, buddy.free_blocks(0), buddy.free_blocks(1)) == (768, 256, 256)
    assert ok(buddy, 1, 600, profile=PROFILE_2_6_20)  # 767 - 256 are more than 300
    assert not ok(buddy, 2, 600, profile=PROFILE_2_6_20)
    assert not ok(buddy, 1, 667, profile=PROFILE_2_6_20)
