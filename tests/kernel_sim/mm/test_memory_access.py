"""Accesses of a CPU: through TLB and tables to bytes, or to the fault that hardware would raise."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from kernel_sim.errors import BadAccess, PageFault
from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.memory_access import AccessReport, MemoryAccess, fault_text
from kernel_sim.mm.paging import (
    ACCESSED,
    DIRTY,
    NX,
    PAGE_KERNEL,
    PAGE_KERNEL_EXEC,
    PRESENT,
    RW,
    USER,
)
from kernel_sim.mm.paging_modes import MODES
from kernel_sim.mm.tlb import Tlb
from kernel_sim.mm.tlb_profiles import tlb_profile
from kernel_sim.mm.tlb_stale import stale_entries
from tests.kernel_sim.mm.table_pages import BASE, BASE_32BIT, base_of, new_space

CLEAN = PAGE_KERNEL & ~(DIRTY | ACCESSED)


def new_access(levels: int = 4, profile: str = "skylake") -> MemoryAccess:
    space = new_space(levels)
    tlbs = {cpu: Tlb(tlb_profile(profile)) for cpu in (0, 1)} if profile != "none" else {}
    return MemoryAccess(space, space.phys, tlbs)


def map_page(access: MemoryAccess, page: int, pfn: int, flags: int = PAGE_KERNEL) -> int:
    space = access.space
    assert isinstance(space, KernelAddressSpace)
    virt = base_of(space.levels) + page * 4096
    assert space.map_page(virt=virt, pfn=pfn, flags=flags, node=0)
    return virt


class AccessAgainstBytes(RuleBasedStateMachine):
    """Four pages, two CPUs, every removal followed by a flush: what is read is what was written."""

    @initialize(
        levels=st.sampled_from(sorted(MODES)),
        profile=st.sampled_from(["none", "pentium3", "nehalem", "skylake"]),
    )
    def boot(self, levels: int, profile: str) -> None:
        self.access = new_access(levels, profile)
        self.base = base_of(levels)
        self.model: dict[int, bytearray] = {}
        self.next_pfn = 0x8000

    @rule(page=st.integers(0, 3), clean=st.booleans())
    def map_page(self, page: int, clean: bool) -> None:
        if page not in self.model:
            map_page(self.access, page, self.next_pfn, CLEAN if clean else PAGE_KERNEL)
            self.next_pfn += 3
            self.model[page] = bytearray(4096)

    @rule(page=st.integers(0, 3))
    def unmap_page(self, page: int) -> None:
        if self.model.pop(page, None) is not None:
            virt = self.base + page * 4096
            self.access.space.unmap_page(virt)  # type: ignore[attr-defined]
            for tlb in self.access.tlbs.values():
                tlb.flush_range(virt, virt + 4096)

    def first_hole(self, start: int, nr_bytes: int) -> int | None:
        """Return the first offset of an access at which nothing is mapped."""
        for at in range(start, start + nr_bytes):
            if at // 4096 not in self.model:
                return at
        return None

    @rule(
        cpu=st.integers(0, 1),
        start=st.integers(0, 4 * 4096 - 1),
        data=st.binary(min_size=1, max_size=64),
        repeat=st.sampled_from([1, 1, 100]),
    )
    def write(self, cpu: int, start: int, data: bytes, repeat: int) -> None:
        data *= repeat
        hole = self.first_hole(start, len(data))
        if hole is None:
            self.access.write(cpu, self.base + start, data)
        else:
            with pytest.raises(PageFault) as caught:
                self.access.write(cpu, self.base + start, data)
            assert (caught.value.addr, caught.value.error_code) == (self.base + hole, 2)
            data = data[: hole - start]
        for offset, byte in enumerate(data):
            self.model[(start + offset) // 4096][(start + offset) % 4096] = byte

    @rule(cpu=st.integers(0, 1), start=st.integers(0, 4 * 4096 - 1), nr_bytes=st.integers(0, 9000))
    def read(self, cpu: int, start: int, nr_bytes: int) -> None:
        hole = self.first_hole(start, nr_bytes)
        if hole is None:
            expected = b"".join(
                bytes(self.model.get(page, b"")) for page in range(start // 4096, 8)
            )
            skip = start % 4096
            assert (
                self.access.read(cpu, self.base + start, nr_bytes)
                == (expected[skip : skip + nr_bytes])
            )
        else:
            with pytest.raises(PageFault) as caught:
                self.access.read(cpu, self.base + start, nr_bytes)
            assert (caught.value.addr, caught.value.error_code) == (self.base + hole, 0)

    def teardown(self) -> None:
        if hasattr(self, "access"):
            for tlb in self.access.tlbs.values():
                tlb.check_invariants()
                assert stale_entries(tlb, self.access.space) == []


TestAccessAgainstBytes = AccessAgainstBytes.TestCase
TestAccessAgainstBytes.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize(("levels", "references"), [(2, 2), (3, 3), (4, 4), (5, 5)])
def test_a_miss_costs_a_walk_and_a_hit_nothing(levels: int, references: int) -> None:
    access = new_access(levels)
    virt = map_page(access, 0, 0x77)
    assert access.access(0, virt + 8, 8) == AccessReport(0x77008, "miss", references, 12)
    assert access.access(0, virt + 16, 8, True) == AccessReport(0x77010, "L1", 0, 12)
    assert access.access(1, virt, 1).tlb == "miss"
    assert access.tlbs[0].counters.walk_references == references
    without = MemoryAccess(access.space, access.memory, {})
    for _ in range(2):
        assert without.access(0, virt, 8) == AccessReport(0x77000, "miss", references, 12)


def test_large_pages_save_references() -> None:
    access = new_access()
    space = access.space
    assert isinstance(space, KernelAddressSpace)
    for shift in (21, 30):
        virt = BASE + (shift << 30)
        assert space.map_large(virt=virt, pfn=1 << 18, shift=shift, flags=PAGE_KERNEL, node=0)
        report = access.access(0, virt + 4096, 8)
        assert (report.walk_references, report.page_shift) == ({21: 3, 30: 2}[shift], shift)


def test_an_access_over_a_page_boundary_costs_both() -> None:
    access = new_access()
    virt = map_page(access, 0, 5)
    map_page(access, 1, 9)
    access.access(0, virt, 1)
    assert access.access(0, virt + 4092, 8) == AccessReport(0x5FFC, "miss", 4, 12)
    assert access.access(0, virt + 4092, 8) == AccessReport(0x5FFC, "L1", 0, 12)


def test_numbers_are_little_endian_and_cut_to_size() -> None:
    access = new_access()
    virt = map_page(access, 0, 5)
    access.write_int(0, virt + 4, 0x1_1234_5678, 4)
    assert access.read(0, virt + 4, 4) == bytes.fromhex("78563412")
    assert access.read_int(0, virt + 4, 4) == 0x1234_5678
    access.write_int(0, virt, -1, 2)
    assert access.read_int(0, virt, 4) == 0xFFFF


@pytest.mark.parametrize("levels", sorted(MODES))
def test_hardware_sets_accessed_on_a_walk_and_dirty_on_a_write(levels: int) -> None:
    access = new_access(levels)
    space = access.space
    virt = map_page(access, 0, 5, CLEAN)
    for level in space.walk(virt).levels:
        space.write_entry(level.entry_phys, level.entry & ~(ACCESSED | DIRTY))
    access.read(0, virt, 1)
    levels_now = space.walk(virt).levels
    bare = space.mode.is_top_bare
    assert [bool(level.entry & ACCESSED) for level in levels_now] == [
        not (bare and number == 0) for number in range(levels)
    ]
    assert not levels_now[-1].entry & DIRTY
    assert access.access(0, virt, 1, True) == AccessReport(0x5000, "L1", levels, 12)
    assert space.walk(virt).levels[-1].entry & DIRTY
    assert access.access(0, virt, 1, True) == AccessReport(0x5000, "L1", 0, 12)
    assert not any(level.entry & DIRTY for level in space.walk(virt).levels[:-1])


def test_a_stale_entry_goes_on_reaching_the_old_frame_until_it_is_flushed() -> None:
    access = new_access()
    space = access.space
    assert isinstance(space, KernelAddressSpace)
    virt = map_page(access, 0, 5)
    access.write(0, virt, b"old")
    space.unmap_page(virt)
    assert access.read(0, virt, 3) == b"old"
    with pytest.raises(PageFault):
        access.read(1, virt, 3)
    map_page(access, 0, 6)
    access.write(1, virt, b"new")
    assert access.read(0, virt, 3) == b"old"
    assert len(stale_entries(access.tlbs[0], space)) == 1
    access.tlbs[0].flush_range(virt, virt + 4096)
    assert access.read(0, virt, 3) == b"new"


def test_an_entry_with_too_few_rights_is_looked_up_again_once() -> None:
    access = new_access()
    space = access.space
    assert isinstance(space, KernelAddressSpace)
    virt = map_page(access, 0, 5, PAGE_KERNEL & ~RW)
    access.read(0, virt, 1)
    space.change_flags(virt, 1, set_bits=RW)
    assert access.access(0, virt, 1, True) == AccessReport(0x5000, "L1", 4, 12)
    assert access.tlbs[0].counters.spurious_faults == 1
    assert access.tlbs[0].counters.page_flushes == 0
    assert access.access(0, virt, 1, True).walk_references == 0


def test_setting_a_dirty_bit_replaces_the_entry_it_was_missing_in() -> None:
    access = new_access()
    space = access.space
    assert isinstance(space, KernelAddressSpace)
    assert space.map_large(virt=BASE, pfn=512, shift=21, flags=CLEAN, node=0)
    access.read(0, BASE, 1)
    assert space.split_large_page(BASE)
    access.write(0, BASE + 4096, b"x")
    assert stale_entries(access.tlbs[0], space) == []
    assert access.access(0, BASE, 1) == AccessReport(0x20_0000, "miss", 4, 12)


FLAGS_BY_KIND = {
    "nothing": None,
    "kernel": PAGE_KERNEL,
    "kernel ro": PAGE_KERNEL & ~RW,
    "kernel exec": PAGE_KERNEL_EXEC & ~RW,
    "user": PAGE_KERNEL | USER,
    "user ro exec": (PAGE_KERNEL_EXEC | USER) & ~RW,
}


@pytest.mark.parametrize(
    ("page", "how", "error_code"),
    [
        ("nothing", {}, 0x0),
        ("nothing", {"write": True}, 0x2),
        ("nothing", {"user": True}, 0x4),
        ("nothing", {"write": True, "user": True}, 0x6),
        ("nothing", {"fetch": True}, 0x10),
        ("kernel", {}, None),
        ("kernel", {"write": True}, None),
        ("kernel", {"fetch": True}, 0x11),
        ("kernel", {"user": True}, 0x5),
        ("kernel", {"user": True, "write": True}, 0x7),
        ("kernel", {"user": True, "fetch": True}, 0x15),
        ("kernel ro", {}, None),
        ("kernel ro", {"write": True}, 0x3),
        ("kernel exec", {"fetch": True}, None),
        ("user", {"user": True, "write": True}, None),
        ("user", {"user": True, "fetch": True}, 0x15),
        ("user", {"write": True}, None),
        ("user ro exec", {"user": True, "fetch": True}, None),
        ("user ro exec", {"user": True, "write": True}, 0x7),
        ("user ro exec", {"write": True}, 0x3),
    ],
)
@pytest.mark.parametrize("profile", ["none", "skylake"])
@pytest.mark.parametrize("levels", [3, 4, 5])
def test_the_error_code_says_what_was_wrong(
    levels: int, profile: str, page: str, how: dict[str, bool], error_code: int | None
) -> None:
    access = new_access(levels, profile)
    flags = FLAGS_BY_KIND[page]
    virt = base_of(levels) + 0x10
    if flags is not None:
        map_page(access, 0, 5, flags)
    for _ in range(2):  # the second time through what the first left in the TLB
        if error_code is None:
            assert access.access(0, virt, 4, **how).phys == 0x5010
            continue
        with pytest.raises(PageFault) as caught:
            access.access(0, virt, 4, **how)
        assert caught.value.error_code == error_code
        assert caught.value.addr == virt


def test_without_pae_nothing_forbids_execution_and_a_fetch_looks_like_a_read() -> None:
    access = new_access(2)
    virt = map_page(access, 0, 5, PAGE_KERNEL)
    assert access.fetch(0, virt, 2) == bytes(2)
    with pytest.raises(PageFault) as caught:
        access.fetch(0, virt + 4096, 2)
    assert caught.value.error_code == 0


def test_without_write_protect_a_supervisor_writes_anywhere() -> None:
    access = new_access()
    virt = map_page(access, 0, 5, PAGE_KERNEL & ~RW)
    access.write_protect = False
    access.write(0, virt, b"x")
    assert access.read(0, virt, 1) == b"x"


def test_a_reserved_bit_is_named() -> None:
    access = new_access(3)
    virt = map_page(access, 0, 5)
    entry_phys = access.space.walk(virt).levels[-1].entry_phys
    access.space.write_entry(entry_phys, access.space.read_entry(entry_phys) | 1 << 55)
    with pytest.raises(PageFault, match="0x000b\\) - reserved bit violation") as caught:
        access.write(0, virt, b"x")
    assert caught.value.error_code == 0xB


def test_the_text_is_the_kernels() -> None:
    access = new_access()
    with pytest.raises(PageFault) as caught:
        access.write(0, 0xFFFF_C900_0000_1000, b"x")
    assert str(caught.value) == (
        "BUG: unable to handle page fault for address: ffffc90000001000\n"
        "#PF: supervisor write access in kernel mode\n"
        "#PF: error_code(0x0002) - not-present page"
    )
    with pytest.raises(PageFault) as caught:
        new_access(2).read(0, BASE_32BIT, 4)
    assert str(caught.value).startswith(
        "BUG: unable to handle page fault for address: f8000000\n#PF: supervisor read access"
    )


@pytest.mark.parametrize(
    ("virt", "error_code", "lines"),
    [
        (0x8, 0, ("BUG: kernel NULL pointer dereference, address: 0000000000000008",
                  "#PF: supervisor read access in kernel mode",
                  "#PF: error_code(0x0000) - not-present page")),
        (BASE, 0x11, ("BUG: unable to handle page fault for address: ffffc90000000000",
                      "#PF: supervisor instruction fetch in kernel mode",
                      "#PF: error_code(0x0011) - permissions violation")),
        (0x8, 0x7, ("BUG: unable to handle page fault for address: 0000000000000008",
                    "#PF: user write access in user mode",
                    "#PF: error_code(0x0007) - permissions violation")),
    ],
)  # fmt: skip
def test_three_lines_for_every_kind(virt: int, error_code: int, lines: tuple[str, ...]) -> None:
    assert fault_text(virt, error_code) == "\n".join(lines)


def test_what_is_no_address_is_no_page_fault() -> None:
    with pytest.raises(BadAccess) as caught:
        new_access().read(0, 0xDEAD_0000_0000_0100, 8)
    assert not isinstance(caught.value, PageFault)
    assert str(caught.value) == (
        "general protection fault, probably for non-canonical address 0xdead000000000100: 0000"
    )
    with pytest.raises(BadAccess, match="0x100000000 is not a 32-bit address"):
        new_access(3).read(0, 1 << 32, 8)


def test_a_string_over_the_highest_address_goes_on_at_zero() -> None:
    access = new_access(2)
    space = access.space
    assert isinstance(space, KernelAddressSpace)
    assert space.map_page(virt=0xFFFF_F000, pfn=5, flags=PAGE_KERNEL, node=0)
    with pytest.raises(PageFault) as caught:
        access.write(0, 0xFFFF_FFFE, b"abcd")
    assert caught.value.addr == 0
    assert access.memory.read(0x5FFE, 2) == b"ab"


def test_rights_of_the_tables_above_count_too() -> None:
    access = new_access()
    virt = map_page(access, 0, 5, PAGE_KERNEL_EXEC)
    middle = access.space.walk(virt).levels[2]
    access.space.write_entry(middle.entry_phys, middle.entry & ~RW | NX)
    with pytest.raises(PageFault, match="permissions violation"):
        access.write(0, virt, b"x")
    with pytest.raises(PageFault, match="supervisor instruction fetch"):
        access.fetch(0, virt, 1)
    assert access.read(0, virt, 1) == b"\0"
    assert middle.entry & PRESENT


def test_a_trial_goes_the_same_way_and_leaves_nothing_behind() -> None:
    access = new_access()
    virt = map_page(access, 0, 0x8000, CLEAN)
    before = access.tlbs[0].dump()
    trial = access.trial(0)
    assert trial.access(0, virt, 8, write=True) == AccessReport(0x8000 << 12, "miss", 4, 12)
    assert trial.access(0, virt, 8).tlb == "L1"
    assert access.tlbs[0].dump() == before
    translation = access.space.find_translation(virt)
    assert translation is not None and not translation.flags & (ACCESSED | DIRTY)
