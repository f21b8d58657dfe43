"""Areas of vmalloc space, lowest first, and what of the per-CPU system lives in them."""

from __future__ import annotations

from bisect import bisect_right

from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.vmalloc import VmallocSpace
from tui.debugger.session import Session
from tui.debugger.strips import names_of
from tui.debugger.table import DEC, FLAG, HEX, Cell, Column, Table, count

CHUNK_COLUMNS = (
    Column("chunk", DEC, "chunk that lives in it"),
    Column("group", DEC, "group of CPUs whose units it holds"),
)
HOLDS_COLUMNS = (Column("holds", help="what of the per-CPU system begins in it"),)
NOBODY = (None, None)  # chunk and group of an area that is no chunk's


def _columns(machine: Machine) -> tuple[Column, ...]:
    return (
        Column("start", HEX),
        Column("end", HEX),
        Column("nr_pages", DEC, "pages of address space, guard page included"),
        Column("space", help="vmalloc, or modules where that is another"),
        Column("backed", DEC, "pages that belong to the area itself"),
        Column("kind"),
        Column("caller", help="kernel function that took it"),
        *(HOLDS_COLUMNS if machine.bitmap is None else CHUNK_COLUMNS),
        Column("lazily_freed", FLAG, "freed, and in the way until the next purge"),
    )


def _spaces(machine: Machine) -> tuple[tuple[str, VmallocSpace], ...]:
    """Return the spaces that areas are taken from; on i386 they are one."""
    if machine.module_space is machine.vmalloc:
        return (("vmalloc", machine.vmalloc),)
    return (("vmalloc", machine.vmalloc), ("modules", machine.module_space))


def _tenants(machine: Machine) -> dict[int, tuple[Cell, ...]]:
    """Return what of the per-CPU system lives in areas, by start: chunk and group, or what begins there."""
    percpu = machine.bitmap
    if percpu is None:
        return {start: (name,) for start, name in _held_by_start(machine).items()}
    if percpu.backing.name != "vm":
        return {}
    return {
        start: (number, group)
        for number, chunk in percpu.chunks.items()
        for group, start in enumerate(chunk.data)
    }


def _held_by_start(machine: Machine) -> dict[int, str]:
    """Return which part of the system is the first in an area, by the area's start."""
    starts = sorted(area.start for each in machine.area_spaces() for area in each.areas)
    found: dict[int, str] = {}
    if not starts:
        return found
    for stretch in machine.system.stretches():
        at = bisect_right(starts, stretch.addr) - 1
        if at >= 0 and starts[at] not in found and _is_inside(machine, stretch.addr):
            found[starts[at]] = names_of(stretch.strip)[0] or stretch.strip
    return found


def _is_inside(machine: Machine, addr: int) -> bool:
    return any(each.find_area(addr) is not None for each in machine.area_spaces())


def vmalloc_view(session: Session) -> Table:
    """Return a row for every area, modules' areas last."""
    machine = session.machine
    space = machine.vmalloc
    tenants = _tenants(machine)
    nobody = (None,) if machine.bitmap is None else NOBODY
    rows: list[tuple[Cell, ...]] = []
    for name, each in _spaces(machine):
        freed = each.lazy
        rows += [
            (
                area.start,
                area.start + area.size_bytes,
                area.size_bytes >> PAGE_SHIFT,
                name,
                area.nr_pages or None,
                area.kind,
                area.caller,
                *tenants.get(area.start, nobody),
                area.start in freed,
            )
            for area in each.areas
        ]
    lazy = f"{space.nr_lazy_pages} pages lazily freed, purged beyond {space.lazy_max_pages}"
    where = f"{space.start:#x} to {space.end:#x}"
    title = f"{count(len(rows), 'area')}, vmalloc space {where}, at step {session.step}"
    return Table(title, _columns(machine), tuple(rows), (lazy,))
