"""Page tables in simulated memory, beside a dict from virtual to physical pages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kernel_sim.errors import BadAccess, ConfigError, InvariantBroken, KernelBug
from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.mm.paging import KERNEL_TABLE, PAGE_KERNEL, make_entry

BASE = 0xFFFF_C900_0000_0000
DIRECT_MAP = 0xFFFF_8880_0000_0000
GIB = 1 << 30
MIB = 1 << 20


class TablePages:
    """Hands out pages 0x1000, 0x1001 … as long as there are any, and remembers the nodes asked."""

    def __init__(self, nr_pages: int = 1 << 20) -> None:
        self.nr_left = nr_pages
        self.next_pfn = 0x1000
        self.nodes_asked: list[int] = []

    def __call__(self, node: int) -> int | None:
        self.nodes_asked.append(node)
        if self.nr_left == 0:
            return None
        self.nr_left -= 1
        self.next_pfn += 1
        return self.next_pfn - 1


def new_space(levels: int = 4, nr_table_pages: int = 1 << 20) -> KernelAddressSpace:
    return KernelAddressSpace(0x100, levels, PhysicalMemory(), TablePages(nr_table_pages))


virtual_pages = st.builds(
    lambda gib, mib2, page: BASE + gib * GIB + mib2 * 2 * MIB + page * PAGE_SIZE_BYTES,
    st.sampled_from([0, 1, 511, 512]),
    st.sampled_from([0, 1, 511]),
    st.integers(0, 3),
)


class MapAgainstDict(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.space = new_space(nr_table_pages=9)
        self.mapped: dict[int, int] = {}

    @rule(virt=virtual_pages, pfn=st.integers(0, 2**40 - 1))
    def map_page(self, virt: int, pfn: int) -> None:
        if virt in self.mapped:
            with pytest.raises(KernelBug, match="mapped already"):
                self.space.map_page(virt=virt, pfn=pfn, flags=PAGE_KERNEL, node=0)
        elif self.space.map_page(virt=virt, pfn=pfn, flags=PAGE_KERNEL, node=0):
            self.mapped[virt] = pfn
        else:
            assert self.space.nr_table_pages == 10

    @rule(virt=virtual_pages)
    def unmap_page(self, virt: int) -> None:
        assert self.space.unmap_page(virt) == self.mapped.pop(virt, None)

    @rule(virt=virtual_pages, offset_bytes=st.integers(0, PAGE_SIZE_BYTES - 1))
    def translate(self, virt: int, offset_bytes: int) -> None:
        pfn = self.mapped.get(virt)
        expected = None if pfn is None else pfn * PAGE_SIZE_BYTES + offset_bytes
        assert self.space.translate(virt + offset_bytes) == expected
        assert self.space.walk(virt + offset_bytes).phys == expected

    @invariant()
    def tables_are_owned(self) -> None:
        self.space.check_invariants()


TestMapAgainstDict = MapAgainstDict.TestCase
TestMapAgainstDict.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@given(
    st.integers(0, 2**48 - 1),
    st.lists(st.integers(0, 2**64 - 1), min_size=4, max_size=4),
    st.booleans(),
)
def test_translate_agrees_with_walk_whatever_the_bits(
    low: int, entries: list[int], present: bool
) -> None:
    virt = low if low < 1 << 47 else low | 0xFFFF_0000_0000_0000
    space = new_space()
    for entry in entries:
        way = space.walk(virt)
        if way.phys is not None:
            break
        space.phys.write_u64(way.levels[-1].entry_phys, entry | present)
    assert space.translate(virt) == space.walk(virt).phys


def test_a_chain_of_tables_is_made_once_on_the_node_asked_for() -> None:
    alloc_table = TablePages()
    space = KernelAddressSpace(0x100, 4, PhysicalMemory(), alloc_table)
    for index in range(3):
        virt = BASE + index * PAGE_SIZE_BYTES
        assert space.map_page(virt=virt, pfn=index, flags=PAGE_KERNEL, node=2)
    assert alloc_table.nodes_asked == [2, 2, 2]
    assert list(space.table_pfns) == [0x100, 0x1000, 0x1001, 0x1002]
    assert space.nr_table_pages == 4


def test_without_memory_for_a_table_the_tables_made_so_far_stay() -> None:
    space = new_space(nr_table_pages=2)
    assert not space.map_page(virt=BASE, pfn=1, flags=PAGE_KERNEL, node=0)
    assert space.nr_table_pages == 3
    space.check_invariants()
    assert space.translate(BASE) is None


def test_a_recycled_page_is_cleared_before_it_becomes_a_table() -> None:
    space = new_space()
    for pfn in range(0x1000, 0x1003):
        space.phys.fill_page(pfn, b"\xff" * PAGE_SIZE_BYTES)
    assert space.map_page(virt=BASE, pfn=1, flags=PAGE_KERNEL, node=0)
    assert space.translate(BASE + PAGE_SIZE_BYTES) is None
    space.check_invariants()


@pytest.mark.parametrize("levels", [4, 5])
def test_a_direct_map_of_64_tib_takes_one_table_for_each_512_gib(levels: int) -> None:
    space = new_space(levels)
    start = DIRECT_MAP if levels == 4 else 0xFF11_0000_0000_0000
    assert space.map_linear(virt=start, phys=0, nr_bytes=64 << 40, flags=PAGE_KERNEL)
    assert space.nr_table_pages == 1 + 128 + (levels - 4)
    for phys in (0, GIB + 5, (64 << 40) - 1):
        assert space.translate(start + phys) == phys
    assert space.translate(start + (64 << 40)) is None
    assert space.walk(start).page_size_bytes == GIB
    space.check_invariants()


def test_a_linear_map_uses_the_largest_pages_that_alignment_permits() -> None:
    space = new_space()
    start = DIRECT_MAP + 2 * MIB - PAGE_SIZE_BYTES
    nr_bytes = PAGE_SIZE_BYTES + (GIB - 2 * MIB) + GIB + 4 * MIB + PAGE_SIZE_BYTES
    assert space.map_linear(
        virt=start, phys=start - DIRECT_MAP, nr_bytes=nr_bytes, flags=PAGE_KERNEL
    )
    sizes = {
        offset: space.walk(DIRECT_MAP + offset).page_size_bytes
        for offset in (2 * MIB - 1, 2 * MIB, GIB - 1, GIB, 2 * GIB, 2 * GIB + 4 * MIB)
    }
    assert list(sizes.values()) == [4096, 2 * MIB, 2 * MIB, GIB, 2 * MIB, 4096]
    assert space.translate(start - 1) is None
    assert space.translate(start + nr_bytes) is None


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1024),
    st.integers(0, 1024),
    st.integers(1, 1200),
    st.lists(st.integers(0, 1199), max_size=5),
)
def test_a_linear_map_translates_every_page_to_its_own(
    virt_page: int, phys_page: int, nr_pages: int, looks: list[int]
) -> None:
    space = new_space()
    virt, phys = BASE + virt_page * PAGE_SIZE_BYTES, phys_page * PAGE_SIZE_BYTES
    assert space.map_linear(
        virt=virt, phys=phys, nr_bytes=nr_pages * PAGE_SIZE_BYTES, flags=PAGE_KERNEL
    )
    for page_index in (0, nr_pages - 1, *(look % nr_pages for look in looks)):
        offset_bytes = page_index * PAGE_SIZE_BYTES
        assert space.translate(virt + offset_bytes) == phys + offset_bytes
    assert space.translate(virt - 1) is None
    assert space.translate(virt + nr_pages * PAGE_SIZE_BYTES) is None
    space.check_invariants()


def test_a_linear_map_without_memory_for_tables_says_so() -> None:
    space = new_space(nr_table_pages=2)
    assert not space.map_linear(virt=BASE, phys=0, nr_bytes=2 * MIB + 8192, flags=PAGE_KERNEL)
    assert space.translate(BASE) == 0
    assert space.translate(BASE + 2 * MIB) is None
    space.check_invariants()


def test_nothing_is_mapped_over_or_cut_out_of_a_large_page() -> None:
    space = new_space()
    assert space.map_linear(virt=BASE, phys=0, nr_bytes=4 * MIB, flags=PAGE_KERNEL)
    with pytest.raises(KernelBug, match="no table can stand"):
        space.map_page(virt=BASE + 4096, pfn=1, flags=PAGE_KERNEL, node=0)
    with pytest.raises(KernelBug, match="mapped already"):
        space.map_linear(virt=BASE + 2 * MIB, phys=0, nr_bytes=2 * MIB, flags=PAGE_KERNEL)
    with pytest.raises(KernelBug, match="lies in a page of 2097152 bytes"):
        space.unmap_page(BASE + 4096)


def test_bad_requests_are_refused_with_a_reason() -> None:
    space = new_space()
    with pytest.raises(BadAccess, match="0x800000000000: not a canonical"):
        space.map_page(virt=1 << 47, pfn=1, flags=PAGE_KERNEL, node=0)
    assert space.translate(1 << 47) is None
    assert space.unmap_page(1 << 47) is None
    with pytest.raises(ConfigError, match="not whole pages"):
        space.map_linear(virt=BASE, phys=0, nr_bytes=5, flags=PAGE_KERNEL)
    with pytest.raises(ConfigError, match="not 3"):
        new_space(levels=3)


def test_a_table_given_out_twice_is_noticed() -> None:
    space = KernelAddressSpace(0x100, 4, PhysicalMemory(), lambda _node: 0x1000)
    with pytest.raises(InvariantBroken, match="page 0x1000 was given out as a table twice"):
        space.map_page(virt=BASE, pfn=1, flags=PAGE_KERNEL, node=0)


def test_stray_bits_in_a_table_are_found_by_the_check() -> None:
    space = new_space()
    space.map_page(virt=BASE, pfn=1, flags=PAGE_KERNEL, node=0)
    pgd_entry_phys = space.walk(BASE).levels[0].entry_phys
    good_entry = space.phys.read_u64(pgd_entry_phys)
    space.phys.write_u64(pgd_entry_phys, 0)
    with pytest.raises(InvariantBroken, match="table 0x1000 is owned, but no entry"):
        space.check_invariants()
    space.phys.write_u64(pgd_entry_phys, good_entry)
    space.phys.write_u64(pgd_entry_phys + 8, good_entry)
    with pytest.raises(InvariantBroken, match="table 0x1000 is reached twice"):
        space.check_invariants()
    space.phys.write_u64(pgd_entry_phys + 8, make_entry(0x77, KERNEL_TABLE))
    with pytest.raises(InvariantBroken, match="table 0x77 is in use, but not owned"):
        space.check_invariants()
