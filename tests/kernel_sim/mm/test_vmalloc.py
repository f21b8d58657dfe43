"""vmalloc space: addresses seen in real kernels, and any history beside simpler ones.

One model tries every place of a small space; another, for large ones, steps over all areas.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kernel_sim.alignment import align_down, align_up
from kernel_sim.errors import ConfigError, DoubleFree, InvariantBroken, KernelBug
from kernel_sim.mm.address_holes import AddressHoles
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.mm.vmalloc import VMALLOC_START, VmallocSpace, VmArea, lazy_max_pages_of

MIB = 1 << 20
UNIT = 2 * MIB


@pytest.mark.parametrize(
    ("offsets", "size_bytes", "align", "bases"),
    [
        ((0,), UNIT, UNIT, (0xFFFFE8FFFFC00000, 0xFFFFE8FFFFA00000, 0xFFFFE8FFFF800000)),
        (
            (0, 1031798784),
            UNIT,
            UNIT,
            (0xFFFFE8FFC2400000, 0xFFFFE8FFC2200000, 0xFFFFE8FFC2000000),
        ),
        (
            (0, 536870912, 1073741824, 1568669696),
            UNIT,
            UNIT,
            (0xFFFFE8FFA2400000, 0xFFFFE8FFA2200000, 0xFFFFE8FFA2000000, 0xFFFFE8FFA1E00000),
        ),
        ((0,), 0xE8000, 4096, (0xFFFFE8FFFFF17000, 0xFFFFE8FFFFE2F000, 0xFFFFE8FFFFD47000)),
    ],
)
def test_chunks_land_where_linux_6_1_put_them(
    offsets: tuple[int, ...], size_bytes: int, align: int, bases: tuple[int, ...]
) -> None:
    space = VmallocSpace()
    sizes = (size_bytes,) * len(offsets)
    for base in bases:
        expected = tuple(base + offset_bytes for offset_bytes in offsets)
        assert space.get_vm_areas(offsets, sizes, align) == expected
    space.check_invariants()


def test_four_groups_give_the_areas_that_vmallocinfo_showed() -> None:
    space = VmallocSpace()
    for _ in range(2):
        space.get_vm_areas((0, 536870912, 1073741824, 1568669696), (UNIT,) * 4, UNIT)
    assert [area.start for area in space.areas] == [
        0xFFFFE8FFA2200000,
        0xFFFFE8FFA2400000,
        0xFFFFE8FFC2200000,
        0xFFFFE8FFC2400000,
        0xFFFFE8FFE2200000,
        0xFFFFE8FFE2400000,
        0xFFFFE8FFFFA00000,
        0xFFFFE8FFFFC00000,
    ]


def test_areas_from_below_begin_where_a_real_kernel_put_its_first_ones() -> None:
    space = VmallocSpace()
    assert space.alloc_area(16384, 4096, "irq_init_percpu_irqstack") == 0xFFFFC90000000000
    assert space.alloc_area(4096, 4096, "acpi_os_map_iomem") == 0xFFFFC90000005000
    assert space.alloc_area(8192, 8192, "acpi_os_map_iomem") == 0xFFFFC90000008000
    assert space.alloc_area(4096, 4096, "hpet_enable") == 0xFFFFC9000000B000
    assert space.alloc_area(4096, 4096, "gen_pool_add_owner") == 0xFFFFC9000000D000
    assert [area.size_bytes for area in space.areas] == [20480, 8192, 12288, 8192, 8192]


def test_the_first_chunk_in_pages_is_registered_without_a_guard_page() -> None:
    space = VmallocSpace()
    assert space.register_early(950272, 4096, "pcpu_page_first_chunk") == VMALLOC_START
    assert space.alloc_area(16384, 4096, "irq_init_percpu_irqstack") == 0xFFFFC900000E8000


def test_a_freed_area_blocks_its_place_until_the_purge() -> None:
    space = VmallocSpace()
    (first,) = space.get_vm_areas((0,), (UNIT,), UNIT) or ()
    space.free_vm_areas((first,))
    assert space.get_vm_areas((0,), (UNIT,), UNIT) == (first - UNIT,)
    assert [area.start for area in space.purge()] == [first]
    assert space.get_vm_areas((0,), (UNIT,), UNIT) == (first,)


def test_purging_happens_by_itself_above_the_limit() -> None:
    space = VmallocSpace(lazy_max_pages=1024)
    bases = [(space.get_vm_areas((0,), (UNIT,), UNIT) or ())[0] for _ in range(3)]
    space.free_vm_areas(tuple(bases[:2]))
    assert space.nr_lazy_pages == 1024
    space.free_vm_areas((bases[2],))
    assert (space.nr_lazy_pages, space.areas) == (0, [])


def test_the_limit_grows_with_the_bits_of_the_number_of_cpus() -> None:
    assert [lazy_max_pages_of(cpus) for cpus in (1, 2, 3, 4, 8)] == [
        8192,
        16384,
        16384,
        24576,
        32768,
    ]


def test_a_full_space_is_purged_before_a_request_fails() -> None:
    space = VmallocSpace(VMALLOC_START, VMALLOC_START + 4 * UNIT - 1)
    bases = [(space.get_vm_areas((0,), (UNIT,), UNIT) or ())[0] for _ in range(3)]
    assert bases[-1] == VMALLOC_START
    assert space.get_vm_areas((0,), (UNIT,), UNIT) is None
    space.free_vm_areas((bases[1],))
    assert space.get_vm_areas((0,), (UNIT,), UNIT) == (bases[1],)
    space.free_vm_areas((bases[2],))
    assert space.alloc_area(UNIT - 4096, 4096, "vmalloc") == VMALLOC_START
    assert space.alloc_area(UNIT, 4096, "vmalloc") is None
    with pytest.raises(KernelBug, match="no room"):
        space.register_early(UNIT, 4096, "pcpu_page_first_chunk")


def test_an_area_is_found_by_any_address_inside() -> None:
    space = VmallocSpace()
    start = space.alloc_area(8192, 4096, "vmap", kind="vmap")
    assert start is not None
    assert space.find_area(start + 3 * 4096 - 1) == VmArea(start, 3 * 4096, "vmap", "vmap")
    assert space.find_area(start + 3 * 4096) is None
    assert space.find_area(start - 1) is None
    assert space.area_of(start).end == start + 3 * 4096
    with pytest.raises(KernelBug, match="no vmalloc area starts"):
        space.area_of(start + 4096)


def test_a_second_free_is_a_double_free_also_while_lazy() -> None:
    space = VmallocSpace()
    (base,) = space.get_vm_areas((0,), (UNIT,), UNIT) or ()
    space.free_vm_areas((base,))
    for wrong in (base, base + 4096, VMALLOC_START):
        with pytest.raises(DoubleFree, match=f"{wrong:#x}"):
            space.free_vm_areas((wrong,))


@pytest.mark.parametrize(
    ("offsets", "sizes", "align", "complaint"),
    [
        ((0,), (UNIT,), 3 * 4096, "power of two"),
        ((0,), (UNIT,), 2048, "power of two"),
        ((4096,), (UNIT,), UNIT, "not aligned"),
        ((0,), (4096,), UNIT, "not aligned"),
        ((0, UNIT), (2 * UNIT, UNIT), UNIT, "overlaps"),
        ((), (), UNIT, "do not make groups"),
        ((0,), (UNIT, UNIT), UNIT, "do not make groups"),
    ],
)
def test_groups_that_cannot_be_are_a_bug(
    offsets: tuple[int, ...], sizes: tuple[int, ...], align: int, complaint: str
) -> None:
    with pytest.raises(KernelBug, match=complaint):
        VmallocSpace().get_vm_areas(offsets, sizes, align)


def test_nothing_is_given_for_nothing() -> None:
    assert VmallocSpace().alloc_area(0, 4096, "vmalloc") is None


@pytest.mark.parametrize(
    ("areas", "complaint"),
    [
        ([(VMALLOC_START - 4096, 4096)], "begins before"),
        ([(VMALLOC_START, 8192), (VMALLOC_START + 4096, 4096)], "begins before"),
        ([(VMALLOC_START, 100)], "not of whole pages"),
        ([(0xFFFFE8FFFFFFF000, 8192)], "reach to"),
    ],
)
def test_damage_is_named_by_the_check(areas: list[tuple[int, int]], complaint: str) -> None:
    space = VmallocSpace()
    space.areas = [VmArea(start, size_bytes, "vmalloc", "test") for start, size_bytes in areas]
    with pytest.raises(InvariantBroken, match=complaint):
        space.check_invariants()


def test_lists_that_disagree_with_the_areas_are_found() -> None:
    space = VmallocSpace()
    space.alloc_area(4096, 4096, "vmalloc")
    space.lazy[5] = None
    with pytest.raises(InvariantBroken, match="lazily freed area 0x5"):
        space.check_invariants()
    space.areas.clear()
    with pytest.raises(InvariantBroken, match="search keys disagree"):
        space.check_invariants()


def test_counts_and_holes_that_disagree_with_the_areas_are_found() -> None:
    space = VmallocSpace()
    (base,) = space.get_vm_areas((0,), (UNIT,), UNIT) or ()
    space.lazy[base] = None
    with pytest.raises(InvariantBroken, match="2097152 bytes are lazily freed, 0 were counted"):
        space.check_invariants()
    space.lazy.clear()
    space._holes.give(base, base + UNIT)
    with pytest.raises(InvariantBroken, match="not what the areas leave free"):
        space.check_invariants()


def test_areas_that_others_have_from_the_start_are_kept_clear() -> None:
    space = VmallocSpace()
    space.add_taken(VMALLOC_START, 5 * 4096, "irq_init_percpu_irqstack")
    space.add_taken(0xFFFFE8FFFFC00000, UNIT, "")
    assert space.alloc_area(4096, 4096, "vmalloc") == VMALLOC_START + 5 * 4096
    assert space.get_vm_areas((0,), (UNIT,), UNIT) == (0xFFFFE8FFFFA00000,)
    space.check_invariants()
    assert space.area_of(VMALLOC_START).kind == "vmalloc"


@pytest.mark.parametrize(
    ("start", "size_bytes", "complaint"),
    [
        (VMALLOC_START, 100, "whole pages"),
        (VMALLOC_START + 8192, 0, "whole pages"),
        (VMALLOC_START - 4096, 8192, "expected addresses in"),
        (0xFFFFE8FFFFFFF000, 8192, "expected addresses in"),
        (VMALLOC_START + 4096, 4096, "no other area has"),
    ],
)
def test_an_area_from_the_start_that_cannot_be_is_refused(
    start: int, size_bytes: int, complaint: str
) -> None:
    space = VmallocSpace()
    space.add_taken(VMALLOC_START, 8192, "somebody")
    with pytest.raises(ConfigError, match=complaint):
        space.add_taken(start, size_bytes, "other")
    assert len(space.areas) == 1


def test_what_was_purged_is_told_once_as_one_range() -> None:
    space = VmallocSpace()
    assert space.take_purged() is None
    bases = [(space.get_vm_areas((0,), (UNIT,), UNIT) or ())[0] for _ in range(4)]
    space.free_vm_areas((bases[1],))
    space.purge()
    space.free_vm_areas((bases[3],))
    space.purge()
    assert space.take_purged() == (bases[3], bases[1] + UNIT)
    assert space.take_purged() is None
    space.lazy_max_pages = 0
    space.free_vm_areas((bases[0],))
    assert space.take_purged() == (bases[0], bases[0] + UNIT)


def test_a_purge_inside_a_request_is_told_too() -> None:
    space = VmallocSpace(VMALLOC_START, VMALLOC_START + 3 * UNIT - 1)
    first, second = (space.get_vm_areas((0,), (UNIT,), UNIT) for _ in range(2))
    assert first and second
    space.free_vm_areas(second)
    assert space.get_vm_areas((0,), (UNIT,), UNIT) == second
    assert space.take_purged() == (second[0], second[0] + UNIT)
    space.free_vm_areas(first)
    assert space.alloc_area(2 * UNIT - 8192, 4096, "vmalloc") == first[0]
    assert space.take_purged() == (first[0], first[0] + UNIT)


def test_version_grows_with_every_change_and_with_nothing_else() -> None:
    space = VmallocSpace(lazy_max_pages=1 << 30)
    seen = [space.version]
    (base,) = space.get_vm_areas((0,), (UNIT,), UNIT) or ()
    seen.append(space.version)
    space.free_vm_areas((base,))
    seen.append(space.version)
    space.purge()
    seen.append(space.version)
    assert seen == sorted(seen) and len(dict.fromkeys(seen)) == 4
    space.purge()
    space.dump()
    space.find_area(base)
    space.next_base((0,), (UNIT,), UNIT)
    assert space.version == seen[-1]


def test_an_area_without_pages_of_its_own_is_dumped_as_it_always_was() -> None:
    space = VmallocSpace()
    space.get_vm_areas((0,), (UNIT,), UNIT)
    start = space.alloc_area(8192, 4096, "vmalloc", nr_pages=2)
    mapped = space.alloc_area(4096, 4096, "hpet_enable", kind="ioremap", phys=0xFED00000)
    assert space.dump()["areas"] == [
        (start, 12288, "vmalloc", "vmalloc", 2, 0),
        (mapped, 8192, "ioremap", "hpet_enable", 0, 0xFED00000),
        (0xFFFFE8FFFFC00000, UNIT, "vmalloc", "pcpu_get_vm_areas"),
    ]
    assert VmallocSpace.load(space.dump()).areas == space.areas


def test_two_areas_taken_at_once_may_not_overlap() -> None:
    space = VmallocSpace()
    starts = (VMALLOC_START + 4096, VMALLOC_START)
    assert space.take_at(starts, (4096, 8192)) is None
    assert space.take_at(starts, (4096, 4096)) == starts
    assert space.take_at((VMALLOC_START - 4096,), (4096,)) is None


def test_ten_thousand_chunks_cost_a_few_looks_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: how often a search looks at a hole."""
    looks = [0]
    hole_from = AddressHoles.hole_from

    def counted(holes: AddressHoles, address: int) -> tuple[int, int] | None:
        looks[0] += 1
        return hole_from(holes, address)

    space = VmallocSpace(lazy_max_pages=1 << 30)
    offsets, sizes = (0, 512 * MIB), (32768, 32768)
    bases = [space.get_vm_areas(offsets, sizes, 4096) or () for _ in range(10_000)]
    monkeypatch.setattr(AddressHoles, "hole_from", counted)
    space.get_vm_areas(offsets, sizes, 4096)
    for number in range(0, 10_000, 2):
        space.free_vm_areas(bases[number])
    space.purge()
    for _ in range(5000):
        space.get_vm_areas(offsets, sizes, 4096)
    assert looks[0] < 10 * 5001
    monkeypatch.undo()
    space.check_invariants()


@dataclass
class SteppingSpace:
    """The simple way: areas as a sorted list of (start, end), every search steps over all of them."""

    start: int
    end: int
    areas: list[tuple[int, int]] = field(default_factory=list)
    lazy: list[int] = field(default_factory=list)

    def conflict(self, start: int, end: int) -> tuple[int, int] | None:
        return next((area for area in self.areas if start < area[1] and area[0] < end), None)

    def find_base(self, offsets: tuple[int, ...], sizes: tuple[int, ...], align: int) -> int | None:
        last_end = max(map(sum, zip(offsets, sizes, strict=True)))
        base = align_down(self.end, align) - last_end
        while base >= align_up(self.start, align):
            found = [
                (area, offset, size)
                for offset, size in zip(offsets, sizes, strict=True)
                if (area := self.conflict(base + offset, base + offset + size))
            ]
            if not found:
                return base
            area, offset, size = found[0]
            base = align_down(area[0], align) - size - offset
        return None

    def find_lowest(self, size_bytes: int, align: int) -> int | None:
        candidate = align_up(self.start, align)
        for start, end in self.areas:
            if candidate + size_bytes <= start:
                break
            candidate = max(candidate, align_up(end, align))
        return candidate if candidate + size_bytes <= self.end else None

    def add(self, start: int, size_bytes: int) -> None:
        self.areas = sorted([*self.areas, (start, start + size_bytes)])

    def purge(self) -> None:
        self.areas = [area for area in self.areas if area[0] not in self.lazy]
        self.lazy = []


sizes_of_areas = st.sampled_from([4096, 8192, 16384, 65536, 98304, 262144, 1 << 20])
moves = st.lists(
    st.one_of(
        st.tuples(st.just("below"), sizes_of_areas, st.sampled_from([4096, 16384, 65536])),
        st.tuples(st.just("chunk"), st.integers(1, 3), st.sampled_from([4096, 32768, 131072])),
        st.tuples(st.just("free"), st.integers(0, 1 << 30), st.just(0)),
        st.tuples(st.just("purge"), st.just(0), st.just(0)),
    ),
    min_size=20,
    max_size=80,
)


@settings(max_examples=60, deadline=None)
@given(moves, st.sampled_from([1 << 22, 1 << 24, 1 << 40]))
def test_every_place_is_the_one_that_stepping_over_all_areas_finds(
    steps: list[tuple[str, int, int]], space_bytes: int
) -> None:
    end = VMALLOC_START + space_bytes - 1
    space = VmallocSpace(VMALLOC_START, end, lazy_max_pages=1 << 40)
    model = SteppingSpace(VMALLOC_START, end)
    for what, first, second in steps:
        if what == "below":
            needed = first + 4096
            expected = model.find_lowest(needed, second)
            if expected is None and model.lazy:
                model.purge()
                expected = model.find_lowest(needed, second)
            assert space.alloc_area(first, second, "test") == expected
            if expected is not None:
                model.add(expected, needed)
        elif what == "chunk":
            offsets = tuple(group * 3 * second for group in range(first))
            sizes = (second,) * first
            expected = model.find_base(offsets, sizes, second)
            assert space.next_base(offsets, sizes, second) == expected
            if expected is None and model.lazy:
                model.purge()
                expected = model.find_base(offsets, sizes, second)
            got = space.get_vm_areas(offsets, sizes, second)
            assert got == (None if expected is None else tuple(expected + off for off in offsets))
            for start in got or ():
                model.add(start, second)
        elif what == "free" and (live := [a for a, _ in model.areas if a not in model.lazy]):
            start = live[first % len(live)]
            space.free_vm_areas((start,))
            model.lazy.append(start)
        elif what == "purge":
            space.purge()
            model.purge()
    space.check_invariants()
    assert [(area.start, area.end) for area in space.areas] == model.areas


SMALL_START, SMALL_PAGES = 0x1_0000_0000, 64
SMALL_END = SMALL_START + SMALL_PAGES * PAGE_SIZE_BYTES - 1


class VmallocAgainstPages(RuleBasedStateMachine):
    """A space of 64 pages; the model tries every place one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.space = VmallocSpace(SMALL_START, SMALL_END, lazy_max_pages=20)
        self.live: dict[int, int] = {}
        self.lazy: dict[int, int] = {}

    def is_free(self, first: int, nr_pages: int) -> bool:
        if first < 0 or first + nr_pages > SMALL_PAGES:
            return False
        taken = {**self.live, **self.lazy}
        return all(first + nr_pages <= start or start + n <= first for start, n in taken.items())

    @rule(
        gaps=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3)), min_size=1, max_size=3),
        align_pages=st.sampled_from([1, 2, 4]),
        reverse=st.booleans(),
    )
    def get_vm_areas(self, gaps: list[tuple[int, int]], align_pages: int, reverse: bool) -> None:
        groups, offset = [], 0
        for gap, nr_pages in gaps:
            offset = offset + gap * align_pages if groups else 0
            groups.append((offset, nr_pages * align_pages))
            offset += nr_pages * align_pages
        if reverse:
            groups.reverse()

        def search() -> int | None:
            for base in reversed(range(0, SMALL_PAGES, align_pages)):
                last_end = max(offset + nr_pages for offset, nr_pages in groups)
                highest = (SMALL_PAGES - 1) // align_pages * align_pages
                if base + last_end <= highest and all(
                    self.is_free(base + offset, nr_pages) for offset, nr_pages in groups
                ):
                    return base
            return None

        expected = search()
        if expected is None:
            self.lazy.clear()
            expected = search()
        got = self.space.get_vm_areas(
            tuple(offset * PAGE_SIZE_BYTES for offset, _ in groups),
            tuple(nr_pages * PAGE_SIZE_BYTES for _, nr_pages in groups),
            align_pages * PAGE_SIZE_BYTES,
        )
        if expected is None:
            assert got is None
            return
        starts = [expected + offset for offset, _ in groups]
        assert got == tuple(SMALL_START + start * PAGE_SIZE_BYTES for start in starts)
        self.live.update(
            {start: nr_pages for start, (_, nr_pages) in zip(starts, groups, strict=True)}
        )

    @rule(
        size_bytes=st.integers(1, 5 * PAGE_SIZE_BYTES),
        align_pages=st.sampled_from([1, 2, 4]),
        early=st.booleans(),
    )
    def alloc_from_below(self, size_bytes: int, align_pages: int, early: bool) -> None:
        nr_pages = -(-size_bytes // PAGE_SIZE_BYTES) + (not early)

        def search() -> int | None:
            for first in range(0, SMALL_PAGES - nr_pages, align_pages):
                if self.is_free(first, nr_pages):
                    return first
            return None

        expected = search()
        align = align_pages * PAGE_SIZE_BYTES
        if early and expected is None:
            with pytest.raises(KernelBug, match="no room"):
                self.space.register_early(size_bytes, align, "test")
            return
        if expected is None:
            self.lazy.clear()
            expected = search()
        take = self.space.register_early if early else self.space.alloc_area
        got = take(size_bytes, align, "test")
        if expected is None:
            assert got is None
        else:
            assert got == SMALL_START + expected * PAGE_SIZE_BYTES
            self.live[expected] = nr_pages

    @rule(
        first=st.integers(0, SMALL_PAGES),
        nr_pages=st.integers(1, 3),
        gap=st.integers(3, 9),
        from_the_start=st.booleans(),
    )
    def take_these(self, first: int, nr_pages: int, gap: int, from_the_start: bool) -> None:
        firsts = (first,) if from_the_start else (first, first + gap)
        starts = tuple(SMALL_START + each * PAGE_SIZE_BYTES for each in firsts)
        size_bytes = nr_pages * PAGE_SIZE_BYTES
        is_free = all(self.is_free(each, nr_pages) for each in firsts)
        if not from_the_start:
            got = self.space.take_at(starts, (size_bytes,) * 2)
            assert got == (starts if is_free else None)
        elif is_free:
            self.space.add_taken(starts[0], size_bytes, "test")
        else:
            with pytest.raises(ConfigError):
                self.space.add_taken(starts[0], size_bytes, "test")
        if is_free:
            self.live.update(dict.fromkeys(firsts, nr_pages))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        starts = data.draw(st.lists(st.sampled_from(sorted(self.live)), min_size=1, unique=True))
        self.space.free_vm_areas(tuple(SMALL_START + start * PAGE_SIZE_BYTES for start in starts))
        for start in starts:
            self.lazy[start] = self.live.pop(start)
        if sum(self.lazy.values()) > 20:
            self.lazy.clear()

    @rule()
    def purge(self) -> None:
        self.space.take_purged()
        purged = [(area.start - SMALL_START) // PAGE_SIZE_BYTES for area in self.space.purge()]
        assert purged == sorted(self.lazy)
        span = self.space.take_purged()
        if purged:
            end = purged[-1] + self.lazy[purged[-1]]
            assert span == tuple(SMALL_START + at * PAGE_SIZE_BYTES for at in (purged[0], end))
        else:
            assert span is None
        self.lazy.clear()

    @rule()
    def save_and_load(self) -> None:
        state = self.space.dump()
        self.space = VmallocSpace.load(state)
        assert self.space.dump() == state

    @invariant()
    def areas_are_those_of_the_model(self) -> None:
        self.space.check_invariants()
        taken = {**self.live, **self.lazy}
        assert [
            ((area.start - SMALL_START) // PAGE_SIZE_BYTES, area.size_bytes // PAGE_SIZE_BYTES)
            for area in self.space.areas
        ] == sorted(taken.items())
        assert self.space.nr_lazy_pages == sum(self.lazy.values())


TestVmallocAgainstPages = VmallocAgainstPages.TestCase
TestVmallocAgainstPages.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
