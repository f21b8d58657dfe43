"""Addresses counted down from the top, beside a dict from index to physical page."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kernel_sim.errors import ConfigError, InvariantBroken, KernelBug
from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.fixmap import Fixmap, FixmapRange
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.mm.paging import PAGE_KERNEL

I386_START, I386_END = 0xFFC00000, 0xFFFFEFFF
X86_64_START, X86_64_END = 0xFFFFFFFFFF578000, 0xFFFFFFFFFF7FEFFF


class TablePages:
    """Pages for tables, as long as there are any."""

    def __init__(self, nr_left: int) -> None:
        self.nr_left = nr_left

    def __call__(self, node: int, cpu: int = 0) -> int | None:
        self.nr_left -= 1
        return 0x1000 + self.nr_left if self.nr_left >= 0 else None


def new_space(nr_tables: int = 100) -> KernelAddressSpace:
    return KernelAddressSpace(0x100, 4, PhysicalMemory(), TablePages(nr_tables))


@pytest.mark.parametrize(
    ("start", "end", "index", "virt"),
    [
        (I386_START, I386_END, 1, 0xFFFFE000),
        (I386_START, I386_END, 1023, 0xFFC00000),
        (X86_64_START, X86_64_END, 511, 0xFFFFFFFFFF600000),  # the vsyscall page
    ],
)
def test_an_index_stands_for_the_address_it_has_in_the_kernel(
    start: int, end: int, index: int, virt: int
) -> None:
    fixmap = Fixmap(start, end)
    assert fixmap.virt_of(index) == virt
    assert fixmap.index_of(virt) == fixmap.index_of(virt + 4095) == index


def test_indices_outside_are_a_bug() -> None:
    fixmap = Fixmap(I386_START, I386_END)
    assert fixmap.nr_pages == 1023
    for index in (-1, 0, 1024):
        with pytest.raises(KernelBug, match=f"fixmap index {index}"):
            fixmap.virt_of(index)
        with pytest.raises(KernelBug, match=f"fixmap index {index}"):
            fixmap.set_fixmap(new_space(), index, 0x1000, PAGE_KERNEL)
    for virt in (I386_START - 1, I386_END + 1):
        with pytest.raises(KernelBug, match="not in the fixmap"):
            fixmap.index_of(virt)
    with pytest.raises(KernelBug, match="whole page"):
        fixmap.set_fixmap(new_space(), 1, 0x1001, PAGE_KERNEL)


@pytest.mark.parametrize(("start", "end"), [(0x1000, 0x1FFE), (0x1800, 0x2FFF), (0x2000, 0x1FFF)])
def test_a_fixmap_of_half_pages_or_none_cannot_be(start: int, end: int) -> None:
    with pytest.raises(ConfigError, match="expected whole pages"):
        Fixmap(start, end)


def test_ranges_for_each_cpu_follow_one_another_downwards() -> None:
    """The design of 2006 wants 256 pages a CPU."""
    fixmap = Fixmap(I386_START, I386_END)
    assert [fixmap.reserve_indices(256, f"percpu of cpu {cpu}") for cpu in range(3)] == [
        1,
        257,
        513,
    ]
    assert fixmap.nr_reserved_pages == 768
    assert fixmap.find_range(256) == FixmapRange(1, 256, "percpu of cpu 0")
    assert fixmap.find_range(257) == FixmapRange(257, 256, "percpu of cpu 1")
    assert fixmap.find_range(768) and not fixmap.find_range(769) and not fixmap.find_range(0)
    with pytest.raises(ConfigError, match="256 pages for percpu of cpu 3; expected 1 to 255"):
        fixmap.reserve_indices(256, "percpu of cpu 3")
    fixmap.check_invariants()
    again = Fixmap.load(fixmap.dump())
    assert again == fixmap and again.dump() == fixmap.dump()


def test_without_a_table_page_nothing_is_mapped() -> None:
    fixmap, space = Fixmap(X86_64_START, X86_64_END), new_space(2)
    assert not fixmap.set_fixmap(space, 3, 0xFEE00000, PAGE_KERNEL)
    assert fixmap.clear_fixmap(space, 3) is None


def test_damage_is_named_by_the_check() -> None:
    fixmap = Fixmap(I386_START, I386_END)
    fixmap.ranges = [FixmapRange(1, 2, "a"), FixmapRange(4, 1, "b")]
    with pytest.raises(
        InvariantBroken, match="range b: 1 pages from index 4, expected them from 3"
    ):
        fixmap.check_invariants()
    fixmap.ranges = [FixmapRange(1, 2000, "a")]
    with pytest.raises(InvariantBroken, match="up to 2000 are reserved"):
        fixmap.check_invariants()


class FixmapAgainstDict(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.fixmap = Fixmap(X86_64_START, X86_64_END)
        self.space = new_space()
        self.mapped: dict[int, int] = {}

    @rule(index=st.integers(1, 12), pfn=st.integers(0, 1 << 30))
    def set_fixmap(self, index: int, pfn: int) -> None:
        phys = pfn * PAGE_SIZE_BYTES
        assert self.fixmap.set_fixmap(self.space, index, phys, PAGE_KERNEL)
        self.mapped[index] = phys

    @rule(index=st.integers(1, 12))
    def clear_fixmap(self, index: int) -> None:
        assert self.fixmap.clear_fixmap(self.space, index) == self.mapped.pop(index, None)

    @invariant()
    def tables_say_the_same(self) -> None:
        for index in range(1, 13):
            virt = self.fixmap.virt_of(index)
            assert self.space.translate(virt) == self.mapped.get(index)
        self.space.check_invariants()
        self.fixmap.check_invariants()


TestFixmapAgainstDict = FixmapAgainstDict.TestCase
TestFixmapAgainstDict.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
