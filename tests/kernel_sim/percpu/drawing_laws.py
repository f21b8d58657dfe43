"""What must hold of the stretches of any per-CPU system, whatever it has done: each law by itself.

apart      no two stretches share an address; those of a strip lie end to end, none is empty
copies     every byte of a live copy is drawn once, as data, with its ptr and CPU, from where the copy is
accounted  account_of() has the same bytes by kind, by CPU and by node, counted page by page
owned      pages under stretches that own theirs are the system's; other memory is the image's, boot's,
           an object of the slab's that is in use, or an area of vmalloc's
lost       what the page allocator has given out is the system's, tables, slabs, stacks and areas: no more
"""

from __future__ import annotations

from itertools import pairwise

from kernel_sim.hotplug.callbacks import STACK_ORDER
from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.percpu.account import UNMAPPED, account_of
from kernel_sim.percpu.stretch import DATA_KINDS, HOLE, KINDS, Stretch


def check_apart(machine: Machine) -> list[Stretch]:
    """Check the first law, which holds in the midst of calls, too; return the stretches."""
    stretches = list(machine.system.stretches())
    ends: dict[str, int] = {}
    for stretch in stretches:
        assert stretch.kind in KINDS and stretch.what and stretch.strip, stretch
        assert stretch.size_bytes > 0, stretch
        assert stretch.addr == ends.get(stretch.strip, stretch.addr), f"a gap before {stretch}"
        ends[stretch.strip] = stretch.end
    for before, after in pairwise(sorted(stretches, key=lambda each: each.addr)):
        assert before.end <= after.addr, f"{before} reaches into {after}"
    return stretches


def check_copies(machine: Machine, sizes: dict[int, int]) -> None:
    """Check that areas of these sizes, by ptr, are drawn, and no other."""
    drawn: dict[tuple[int, int], list[Stretch]] = {}
    for stretch in machine.system.stretches():
        if stretch.ptr and stretch.kind in DATA_KINDS:
            drawn.setdefault((stretch.ptr, stretch.cpu), []).append(stretch)
    system, possible = machine.system, machine.topology.possible
    assert sorted(drawn) == sorted(
        (ptr, owner) for ptr in sizes for owner in possible if system.copy_addr(ptr, owner)
    )
    for (ptr, owner), pieces in drawn.items():
        assert pieces[0].addr == system.copy_addr(ptr, owner)
        for before, after in pairwise(pieces):
            assert before.end == after.addr
        assert pieces[-1].end - pieces[0].addr >= sizes[ptr]


def check_accounted(machine: Machine) -> None:
    """Count everything again, a page at a time, by walks of the page tables."""
    by_kind = dict.fromkeys(KINDS, 0)
    per_cpu: dict[int, dict[str, int]] = {}
    per_node: dict[int, int] = {}
    misplaced_bytes = 0
    for stretch in machine.system.stretches():
        by_kind[stretch.kind] += stretch.size_bytes
        if stretch.kind == HOLE:
            continue
        of_cpu = per_cpu.setdefault(stretch.cpu, {})
        of_cpu[stretch.kind] = of_cpu.get(stretch.kind, 0) + stretch.size_bytes
        for addr, nr_bytes in _pages_of(stretch):
            phys = machine.space.translate(addr)
            node = UNMAPPED if phys is None else machine.pages.node_of_pfn(phys >> PAGE_SHIFT)
            per_node[node] = per_node.get(node, 0) + nr_bytes
            if stretch.cpu >= 0 and stretch.node not in (-1, node):
                misplaced_bytes += nr_bytes
    account = account_of(machine)
    assert account.by_kind == by_kind
    assert account.per_cpu == per_cpu
    assert account.per_node == per_node
    assert account.misplaced_bytes == misplaced_bytes
    assert UNMAPPED not in per_node, "memory without a page is drawn"
    assert account.struct_bytes == machine.system.metadata_bytes() >= 0
    assert account.total_bytes == sum(per_node.values()) + account.struct_bytes


def check_owned(machine: Machine) -> None:
    """Look at whose each drawn page is."""
    owned = [page.pfn for page in machine.system.owned_pages()]
    assert len(dict.fromkeys(owned)) == len(owned)
    drawn: dict[int, None] = {}
    for stretch in machine.system.stretches():
        for addr, _ in _pages_of(stretch):
            phys = machine.space.translate(addr)
            assert (phys is None) == (stretch.kind == HOLE), stretch
            if phys is not None and stretch.owns_pages:
                drawn[phys >> PAGE_SHIFT] = None
        if stretch.kind != HOLE and not stretch.owns_pages:
            assert _is_anothers(machine, stretch), f"nobody's memory is drawn: {stretch}"
    assert sorted(drawn) == sorted(owned)


def check_lost(machine: Machine) -> None:
    """Add up what the page allocator has given out."""
    given = sum(1 << order for zone in machine.pages.zones for _, order in zone.allocated_blocks())
    tables = sum(
        machine.pages.owner_state_of(pfn).startswith("allocated")
        for pfn in machine.space.table_pfns
    )
    slabs = sum(1 << order for _, order in machine.slab.owned_pages())
    stacks = sum(cpu.stack_pfn >= 0 for cpu in machine.cpus.values()) << STACK_ORDER
    areas = sum(
        area.nr_pages
        for space in machine.area_spaces()
        for area in space.areas
        if area.start not in space.lazy
    )
    owned = sum(  # those that are mapped, but of boot, were never given out
        machine.pages.owner_state_of(page.pfn).startswith("allocated")
        for page in machine.system.owned_pages()
    )
    held = sum(1 << order for order in machine.held_pages.values())
    assert given == owned + tables + slabs + stacks + areas + held


def check_drawing(machine: Machine, sizes: dict[int, int]) -> None:
    """Check every law. Context: no call under way; sizes has all live areas and modules' sections."""
    check_apart(machine)
    check_copies(machine, sizes)
    check_accounted(machine)
    check_owned(machine)
    check_lost(machine)


def _pages_of(stretch: Stretch) -> list[tuple[int, int]]:
    """Return (address, bytes) of a stretch's part in each page."""
    found: list[tuple[int, int]] = []
    at = stretch.addr
    while at < stretch.end:
        end = min(at // PAGE_SIZE_BYTES * PAGE_SIZE_BYTES + PAGE_SIZE_BYTES, stretch.end)
        found.append((at, end - at))
        at = end
    return found


def _is_anothers(machine: Machine, stretch: Stretch) -> bool:
    """Say whether memory that is not the system's own is somebody's who gave it to it."""
    if any(space.find_area(stretch.addr) is not None for space in machine.area_spaces()):
        return True
    first, last = (machine.space.translate(addr) for addr in (stretch.addr, stretch.end - 1))
    assert first is not None and last is not None
    owners = [machine.slab.owner_of(phys) for phys in (first, last)]
    if owners[0] is None:
        pages = range(first >> PAGE_SHIFT, (last >> PAGE_SHIFT) + 1)
        return all(machine.pages.owner_state_of(pfn).startswith("reserved") for pfn in pages)
    is_one = owners[0] == owners[1]
    return is_one and owners[0].is_allocated and owners[0].index >= 0
