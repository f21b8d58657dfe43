"""The area map against the kernel's own way: an array of signed sizes, walked from its start."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kernel_sim.errors import DoubleFree, InvariantBroken
from kernel_sim.percpu.area_map import FIRST_CAPACITY, AreaMap

UNIT = 65536


class ArrayMap:
    """The map as 2.6.34 has it: one array, every operation a walk over it."""

    def __init__(self, entries: list[int]) -> None:
        self.map = list(entries)
        self.free_size = sum(size for size in entries if size > 0)
        self.contig_hint = max((size for size in entries if size > 0), default=0)

    def alloc(self, size: int, align: int) -> int:
        max_contig = off = i = 0
        while i < len(self.map):
            is_last = i + 1 == len(self.map)
            head = (off + align - 1) // align * align - off
            if self.map[i] < 0 or self.map[i] < head + size:
                if self.map[i] >= 0:
                    max_contig = max(max_contig, self.map[i])
                off += abs(self.map[i])
                i += 1
                continue
            if head and (head < 4 or self.map[i - 1] > 0):
                if self.map[i - 1] > 0:
                    self.map[i - 1] += head
                else:
                    self.map[i - 1] -= head
                    self.free_size -= head
                self.map[i] -= head
                off += head
                head = 0
            tail = self.map[i] - head - size
            tail = tail if tail >= 4 else 0
            if head:
                self.map[i : i + 1] = [head, self.map[i] - head]
                i += 1
                off += head
                max_contig = max(max_contig, head)
            if tail:
                self.map[i : i + 1] = [self.map[i] - tail, tail]
                max_contig = max(max_contig, tail)
            self.contig_hint = max_contig if is_last else max(self.contig_hint, max_contig)
            self.free_size -= self.map[i]
            self.map[i] = -self.map[i]
            return off
        self.contig_hint = max_contig
        return -1

    def free(self, where: int) -> None:
        off = i = 0
        while off != where:
            off += abs(self.map[i])
            i += 1
        assert self.map[i] < 0
        self.map[i] = -self.map[i]
        self.free_size += self.map[i]
        if i and self.map[i - 1] >= 0:
            self.map[i - 1 : i + 1] = [self.map[i - 1] + self.map[i]]
            i -= 1
        if i + 1 < len(self.map) and self.map[i + 1] >= 0:
            self.map[i : i + 2] = [self.map[i] + self.map[i + 1]]
        self.contig_hint = max(self.contig_hint, self.map[i])


class MapRun(RuleBasedStateMachine):
    """Any areas in any order; what is first decides how much of the unit there is to serve."""

    def __init__(self) -> None:
        super().__init__()
        entries = [-701, 8192]
        self.fast, self.slow = AreaMap.of_entries(entries), ArrayMap(entries)
        self.live: list[int] = []

    @rule(
        size=st.integers(1, 40) | st.integers(1, 3000),
        align=st.sampled_from([1, 2, 4, 8, 16, 64, 256, 4096]),
    )
    def alloc(self, size: int, align: int) -> None:
        fast, slow = self.fast.alloc(size, align), self.slow.alloc(size, align)
        assert (-1 if fast is None else fast) == slow
        if fast is not None:
            self.live.append(fast)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        offset = self.live.pop(data.draw(st.integers(0, len(self.live) - 1)))
        self.fast.free(offset)
        self.slow.free(offset)

    @invariant()
    def same(self) -> None:
        self.fast.double_to_fit()
        self.fast.check_invariants()
        assert self.fast.entries() == self.slow.map
        assert self.fast.free_bytes == self.slow.free_size
        assert self.fast.contig_hint == self.slow.contig_hint
        assert [start for start, _ in self.fast.areas()] == [0, *sorted(self.live)]


TestMapRun = MapRun.TestCase
TestMapRun.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)


@pytest.mark.slow
def test_the_map_is_the_kernels_for_long() -> None:
    run = type("LongMapRun", (MapRun,), {}).TestCase()
    run.settings = settings(max_examples=300, stateful_step_count=80, deadline=None)
    run.runTest()


def test_the_worked_trace() -> None:
    """Offsets, maps, free bytes and hints of the 64 KiB trace that the specification works out."""
    area_map = AreaMap.of_entries([UNIT])
    steps = [
        ((10, 4), 0, [-10, 65526], 65526, 65526),
        ((8, 8), 16, [-10, 6, -8, 65512], 65518, 65512),
        ((64, 64), 64, [-10, 6, -8, 40, -64, 65408], 65454, 65408),
        (16, None, [-10, 54, -64, 65408], 65462, 65408),
        ((3, 1), 10, [-10, -3, 51, -64, 65408], 65459, 65408),
        ((2, 2), 14, [-10, -4, -2, 48, -64, 65408], 65456, 65408),
        (0, None, [10, -4, -2, 48, -64, 65408], 65466, 65408),
        ((512, 4096), 4096, [10, -4, -2, 48, -64, 3968, -512, 60928], 64954, 60928),
        (64, None, [10, -4, -2, 4080, -512, 60928], 65018, 60928),
    ]
    for what, offset, entries, free_bytes, hint in steps:
        if isinstance(what, tuple):
            assert area_map.alloc(*what) == offset
        else:
            area_map.free(what)
        assert area_map.entries() == entries
        assert (area_map.free_bytes, area_map.contig_hint) == (free_bytes, hint)


def test_the_hint_is_exact_only_after_a_scan_to_the_end() -> None:
    area_map = AreaMap.of_entries([UNIT])
    first, last = area_map.alloc(1000, 4), area_map.alloc(UNIT - 1000, 4)
    assert (first, last, area_map.contig_hint) == (0, 1000, 0)
    area_map.free(0)
    assert area_map.alloc(600, 4) == 0
    assert area_map.contig_hint == 1000, "stale: only 400 bytes are left"
    assert area_map.alloc(500, 4) is None
    assert area_map.contig_hint == 400


def test_capacity_grows_before_there_is_no_room_for_two() -> None:
    area_map = AreaMap.of_entries([UNIT], 2)
    assert area_map.wanted_capacity() == FIRST_CAPACITY
    area_map.extend(16)
    assert area_map.wanted_capacity() == 0
    for _ in range(14):
        area_map.alloc(8, 4)
    assert (area_map.used_entries, area_map.wanted_capacity()) == (15, 32)
    area_map.extend(32)
    area_map.extend(16)
    assert area_map.capacity == 32


def test_the_first_commit_doubles_only_when_it_must() -> None:
    area_map = AreaMap.of_entries([UNIT])
    for _ in range(15):
        area_map.alloc(8, 4)
    area_map.double_to_fit()
    assert (area_map.used_entries, area_map.capacity) == (16, 16)
    area_map.alloc(8, 4)
    area_map.double_to_fit()
    assert area_map.capacity == 32


def test_a_map_without_an_array_has_no_entries_in_use() -> None:
    area_map = AreaMap.of_entries([-100, 200], capacity=0)
    assert (area_map.used_entries, area_map.entries()) == (0, [-100, 200])
    area_map.extend(FIRST_CAPACITY)
    assert area_map.used_entries == 2


def test_what_is_no_area_cannot_be_freed() -> None:
    area_map = AreaMap.of_entries([-100, 200])
    offset = area_map.alloc(50, 4)
    assert offset == 100
    for wrong in (101, 150, 99999):
        with pytest.raises(DoubleFree, match=f"offset {wrong}"):
            area_map.free(wrong)
    area_map.free(100)
    with pytest.raises(DoubleFree):
        area_map.free(100)


@given(st.integers(1, 5000), st.integers(1, 4096))
def test_any_alignment_is_the_kernels_formula(size: int, align: int) -> None:
    """Powers of two are assumed and not checked: what others come to is (off + a - 1) & ~(a - 1)."""
    area_map = AreaMap.of_entries([-701, 16384])
    wanted = (701 + align - 1) & ~(align - 1)
    assert area_map.alloc(size, align) == wanted


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("free_bytes", 1, "bytes are free"),
        ("contig_hint", 7, "below the largest"),
        ("capacity", 1, "room for 1"),
        ("free_starts", [], "not those of its entries"),
        ("starts", [0, 101], "hole at offset 100"),
        ("sizes", {0: 100, 100: 200}, "meet at offset 100"),
    ],
)
def test_a_map_that_cannot_be_is_found(field: str, value: object, match: str) -> None:
    area_map = AreaMap.of_entries([-100, 200])
    area_map.check_invariants()
    setattr(area_map, field, value)
    with pytest.raises(InvariantBroken, match=match):
        area_map.check_invariants()
