"""Areas with pages: what is taken, mapped, given back, flushed, and said when it fails."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from kernel_sim.arch import ARCHES
from kernel_sim.cpu import Cpu
from kernel_sim.errors import KernelBug
from kernel_sim.events import Event
from kernel_sim.mm import vmalloc_pages
from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.gfp import GFP_DMA, GFP_KERNEL, GFP_NOWARN
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.page_alloc import PageAllocator
from kernel_sim.mm.paging import PAGE_KERNEL, RW
from kernel_sim.mm.vmalloc import VMALLOC_START, VmallocSpace
from kernel_sim.mm.vmalloc_pages import (
    area_pfns,
    module_alloc,
    module_memfree,
    vfree,
    vmalloc,
    vmalloc_node,
    vzalloc,
)
from kernel_sim.primitives import Lock, run_undisturbed

MIB = 1 << 20
MODULES_START, MODULES_END = 0xFFFFFFFFC0000000, 0xFFFFFFFFFEFFFFFF


class Host:
    """Two nodes of 32 MiB, a CPU on each; flushes are only noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, one_space: bool = False) -> None:
        self.pages = PageAllocator(
            memory={0: ((16 * MIB, 48 * MIB),), 1: ((48 * MIB, 80 * MIB),)},
            distances=((10, 20), (20, 10)),
            nodes_with_cpus=(0, 1),
        )
        self.arch = ARCHES["x86-64", 4]
        self.memory = PhysicalMemory()
        self.tables_left = 1 << 20
        self.table_nodes: list[int] = []
        root = self.pages.alloc_pages(gfp=GFP_KERNEL, order=0, node=0)
        assert root is not None
        self.space = KernelAddressSpace(root, 4, self.memory, self.table_page)
        self.vmalloc = VmallocSpace()
        self.module_space = self.vmalloc if one_space else VmallocSpace(MODULES_START, MODULES_END)
        self.cpus = {0: Cpu(0, 0, True), 1: Cpu(1, 1, True)}
        self.tlbs: dict[int, Any] = {}
        self.log: list[tuple[int, int, str]] = []
        self.flushed: list[tuple[int, int, int]] = []

        async def noted(host: Any, cpu: int, start: int, end: int) -> None:
            host.flushed.append((cpu, start, end))

        monkeypatch.setattr(vmalloc_pages, "flush_tlb_kernel_range", noted)

    def table_page(self, node: int, cpu: int = 0) -> int | None:
        self.table_nodes.append(node)
        self.tables_left -= 1
        if self.tables_left < 0:
            return None
        return self.pages.alloc_pages(gfp=GFP_KERNEL, order=0, node=node)

    def online_cpus(self) -> tuple[int, ...]:
        return tuple(self.cpus)

    def interrupt(self, cpu: int, name: str, args: tuple[Any, ...]) -> Lock:
        raise AssertionError("there is no TLB to flush")

    def emit(self, cpu: int, event: Event) -> None:
        raise AssertionError("vmalloc has no events")

    def printk(self, cpu: int, level: int, text: str) -> None:
        self.log.append((cpu, level, text))

    def pfns_at(self, addr: int) -> list[int]:
        space = self.module_space if addr >= MODULES_START else self.vmalloc
        return area_pfns(self.space, space.area_of(addr))

    def check(self) -> None:
        self.vmalloc.check_invariants()
        self.module_space.check_invariants()
        self.space.check_invariants()
        self.pages.check_invariants()

    def in_use(self) -> int:
        """Pages that are neither free nor hold a table."""
        all_pages = 64 * MIB >> PAGE_SHIFT
        return all_pages - self.pages.nr_free_pages - self.space.nr_table_pages


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def steps_of(path: Coroutine[Any, None, Any]) -> tuple[int, Any]:
    """Run a path to its end; return how often it was resumed, and its result."""
    nr_steps = 0
    while True:
        nr_steps += 1
        try:
            path.send(None)
        except StopIteration as end:
            return nr_steps, end.value


def test_an_area_has_its_pages_a_guard_page_and_its_callers_name(host: Host) -> None:
    addr = run_undisturbed(vmalloc(host, 1, 10_000))
    area = host.vmalloc.area_of(addr)
    assert (addr, area.size_bytes, area.nr_pages, area.caller) == (
        VMALLOC_START, 4 * PAGE_SIZE_BYTES, 3, "vmalloc",
    )  # fmt: skip
    pfns = host.pfns_at(addr)
    assert len(pfns) == 3 and [host.pages.node_of_pfn(pfn) for pfn in pfns] == [1, 1, 1]
    assert host.space.translate(addr + 3 * PAGE_SIZE_BYTES) is None
    assert host.space.walk(addr).phys == pfns[0] << PAGE_SHIFT
    assert host.table_nodes == [1, 1, 1]
    assert host.in_use() == 3
    host.check()


def test_every_page_is_a_step(host: Host) -> None:
    nr_steps, addr = steps_of(vmalloc(host, 0, 3 * PAGE_SIZE_BYTES))
    assert addr and nr_steps == 1 + 1 + 3 + 1  # called, area, pages, mapped
    assert steps_of(vfree(host, 0, addr))[0] == 1 + 1 + 3


def test_pages_come_from_the_node_that_was_wished(host: Host) -> None:
    addr = run_undisturbed(vmalloc_node(host, 0, 8192, 1))
    assert [host.pages.node_of_pfn(pfn) for pfn in host.pfns_at(addr)] == [1, 1]
    assert host.table_nodes == [0, 0, 0]  # tables come from where the CPU runs


def test_only_vzalloc_clears(host: Host) -> None:
    for zone in host.pages.zones:
        for start, end in zone.buddy.free_ranges():
            for pfn in range(start, end):
                host.memory.fill_page(pfn, b"\xa5" * PAGE_SIZE_BYTES)
    for call, content in ((vmalloc, b"\xa5"), (vzalloc, b"\0")):
        addr = run_undisturbed(call(host, 0, 8192))
        for pfn in host.pfns_at(addr):
            assert host.memory.read(pfn << PAGE_SHIFT, 4096) == content * 4096


def test_vfree_gives_pages_back_and_the_area_lazily(host: Host) -> None:
    first = run_undisturbed(vmalloc(host, 0, 8192))
    run_undisturbed(vfree(host, 1, first))
    assert host.in_use() == 0 and host.flushed == []
    assert host.space.translate(first) is None
    second = run_undisturbed(vmalloc(host, 0, 8192))
    assert second == first + 3 * PAGE_SIZE_BYTES
    host.vmalloc.lazy_max_pages = 0
    run_undisturbed(vfree(host, 1, second))
    assert host.flushed == [(1, first, second + 3 * PAGE_SIZE_BYTES)]
    assert run_undisturbed(vmalloc(host, 0, 8192)) == first
    host.check()


def test_an_address_inside_frees_the_area_too_as_in_the_kernel(host: Host) -> None:
    addr = run_undisturbed(vmalloc(host, 0, 8192))
    run_undisturbed(vfree(host, 0, addr + PAGE_SIZE_BYTES))
    assert host.in_use() == 0 and list(host.vmalloc.lazy) == [addr]


def test_a_vfree_of_nothing_is_only_a_warning(host: Host) -> None:
    addr = run_undisturbed(vmalloc(host, 0, 4096))
    before = host.vmalloc.dump()
    run_undisturbed(vfree(host, 0, 0))
    run_undisturbed(vfree(host, 1, addr + 8))
    run_undisturbed(vfree(host, 0, addr + (1 << 30)))
    assert host.vmalloc.dump() == before
    run_undisturbed(vfree(host, 0, addr))
    run_undisturbed(vfree(host, 0, addr))
    assert host.log == [
        (1, 4, "Trying to vfree() bad address (ffffc90000000008)"),
        (0, 4, "Trying to vfree() nonexistent vm area (ffffc90040000000)"),
        (0, 4, "Trying to vfree() nonexistent vm area (ffffc90000000000)"),
    ]


def test_an_i386_address_has_eight_digits(host: Host) -> None:
    host.arch = ARCHES["i386", 3]
    run_undisturbed(vfree(host, 0, 0xF8800000))
    assert host.log == [(0, 4, "Trying to vfree() nonexistent vm area (f8800000)")]


def test_a_chunks_area_is_not_for_vfree(host: Host) -> None:
    (base,) = host.vmalloc.get_vm_areas((0,), (2 * MIB,), 2 * MIB) or ()
    with pytest.raises(KernelBug, match="this one is of pcpu_get_vm_areas"):
        run_undisturbed(vfree(host, 0, base))


@pytest.mark.parametrize("call", [vmalloc, module_alloc])
def test_the_nth_page_that_is_not_there_undoes_everything(host: Host, call: Any) -> None:
    for after in range(5):
        host.log.clear()
        host.pages.fail_after = after
        addr = run_undisturbed(call(host, 0, 4 * PAGE_SIZE_BYTES))
        host.pages.fail_after = -1
        host.check()
        if after == 4:
            assert addr and host.in_use() == 4 and host.log == []
            return
        assert not addr and host.in_use() == 0
        assert host.log == [(0, 4, (
            f"cpu0: vmalloc error: size {after * 4096}, page order 0, failed to allocate pages, "
            "mode:0xcc0(GFP_KERNEL), nodemask=(null)"
        ))]  # fmt: skip
        host.vmalloc.purge()
        assert host.vmalloc.areas == []


def test_the_nth_page_table_that_is_not_there_undoes_everything(host: Host) -> None:
    host.vmalloc.add_taken(VMALLOC_START, 2 * MIB - PAGE_SIZE_BYTES, "")  # pages in two tables
    for nr_tables in range(5):
        host.tables_left = nr_tables
        host.log.clear()
        addr = run_undisturbed(vmalloc(host, 0, 8192))
        host.check()
        if addr:
            assert nr_tables > 0 and host.in_use() == 2
            return
        assert host.in_use() == 0
        assert host.log[0][2].startswith("cpu0: vmalloc error: size 8192, failed to map pages, ")
        host.vmalloc.purge()
    raise AssertionError("4 tables are not enough for two pages")


def test_no_warn_means_no_line(host: Host) -> None:
    host.pages.fail_after = 0
    take = vars(vmalloc_pages)["__vmalloc_node_range"]
    common = {"node": 0, "caller": "test"}
    assert run_undisturbed(
        take(host, 0, host.vmalloc, 4096, gfp=GFP_KERNEL | GFP_NOWARN, **common)
    ) == 0  # fmt: skip
    assert host.log == []


def test_flags_and_zone_are_those_that_were_asked_for(host: Host) -> None:
    take = vars(vmalloc_pages)["__vmalloc_node_range"]
    common = {"node": 0, "caller": "test"}
    addr = run_undisturbed(
        take(host, 0, host.vmalloc, 4096, gfp=GFP_KERNEL, prot_flags=PAGE_KERNEL & ~RW, **common)
    )
    entry = host.memory.read_u64(host.space.walk(addr).levels[-1].entry_phys)
    assert not entry & RW
    assert run_undisturbed(take(host, 0, host.vmalloc, 4096, gfp=GFP_DMA, **common)) == 0
    assert "failed to allocate pages, mode:0x1(GFP_DMA)" in host.log[-1][2]


def test_sizes_that_cannot_be_fail_at_once(host: Host) -> None:
    assert steps_of(vmalloc(host, 0, 0)) == (2, 0)
    assert steps_of(vmalloc(host, 0, 1 << 40)) == (2, 0)
    assert host.log[0][2].startswith(f"cpu0: vmalloc error: size {1 << 40}, exceeds total pages, ")
    assert run_undisturbed(module_alloc(host, 0, 1 << 40)) is None
    host.vmalloc.end = host.vmalloc.start + 4 * PAGE_SIZE_BYTES - 1
    host.vmalloc = VmallocSpace.load(host.vmalloc.dump())
    assert run_undisturbed(vmalloc(host, 0, 4 * PAGE_SIZE_BYTES)) == 0
    assert "size 16384, vm_struct allocation failed" in host.log[-1][2]


def test_modules_have_a_space_of_their_own(host: Host) -> None:
    addr = run_undisturbed(module_alloc(host, 1, 8192))
    assert addr == MODULES_START and host.vmalloc.areas == []
    area = host.module_space.area_of(addr)
    assert (area.nr_pages, area.caller) == (2, "load_module")
    assert [host.pages.node_of_pfn(pfn) for pfn in host.pfns_at(addr)] == [1, 1]


def test_module_memfree_purges_both_spaces_and_flushes_at_once(host: Host) -> None:
    addr = run_undisturbed(module_alloc(host, 0, 8192))
    data = run_undisturbed(vmalloc(host, 0, 4096))
    assert addr is not None
    run_undisturbed(vfree(host, 0, data))
    run_undisturbed(module_memfree(host, 1, addr))
    assert host.flushed == [(1, data, addr + 3 * PAGE_SIZE_BYTES)]
    assert host.in_use() == 0
    assert host.module_space.areas == [] and host.vmalloc.areas == []
    assert run_undisturbed(module_alloc(host, 0, 4096)) == addr


def test_where_both_spaces_are_one_modules_lie_between_other_areas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = Host(monkeypatch, one_space=True)
    first = run_undisturbed(vmalloc(host, 0, 4096))
    addr = run_undisturbed(module_alloc(host, 0, 4096))
    assert addr == first + 2 * PAGE_SIZE_BYTES
    run_undisturbed(module_memfree(host, 0, addr))
    assert host.flushed == [(0, addr, addr + 2 * PAGE_SIZE_BYTES)]
    assert [area.start for area in host.vmalloc.areas] == [first]


def test_a_purge_for_want_of_room_is_flushed(host: Host) -> None:
    state = host.vmalloc.dump()
    state["end"] = state["start"] + 4 * PAGE_SIZE_BYTES - 1
    host.vmalloc = VmallocSpace.load(state)
    first = run_undisturbed(vmalloc(host, 0, 4096))
    run_undisturbed(vfree(host, 0, first))
    assert run_undisturbed(vmalloc(host, 1, 4096)) == first
    assert host.flushed == [(1, first, first + 2 * PAGE_SIZE_BYTES)]


def test_a_modules_pages_are_free_only_after_the_flush(host: Host) -> None:
    addr = run_undisturbed(module_alloc(host, 0, 8192))
    assert addr is not None
    pfns = host.pfns_at(addr)
    path = module_memfree(host, 1, addr)
    while not host.flushed:
        assert [host.pages.owner_state_of(pfn) for pfn in pfns] == ["allocated order 0"] * 2
        path.send(None)
    run_undisturbed(path)
    assert [host.pages.owner_state_of(pfn) for pfn in pfns] == ["free"] * 2
