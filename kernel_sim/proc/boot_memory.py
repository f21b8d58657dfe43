"""The boot messages about memory: what firmware said, how zones and nodes were cut, what is left.

    BIOS-e820: [mem 0x0000000000100000-0x000000007ffdcfff] usable
    Zone ranges:
      DMA32    [mem 0x0000000001000000-0x000000007ffdcfff]
    Early memory node ranges
      node   0: [mem 0x0000000000100000-0x000000003fffffff]
    Initmem setup node 0 [mem 0x0000000000001000-0x000000003fffffff]
    On node 0, zone DMA: 97 pages in unavailable ranges
    Memory: 338620K/2096620K available (14343K kernel code, …, 129916K reserved, 0K cma-reserved)

Source: Linux 6.1 arch/x86/kernel/e820.c: e820__print_table(); mm/page_alloc.c: free_area_init(),
memmap_init(), mem_init_print_info().
"""

from __future__ import annotations

from typing import NamedTuple

from kernel_sim.alignment import align_down, align_up
from kernel_sim.machine import Machine
from kernel_sim.mm.buddy import PfnRange
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.phys_range import PhysRange
from kernel_sim.percpu.boot_log import KERN_INFO, BootLine
from kernel_sim.proc.iomem import kernel_parts
from kernel_sim.proc.sources import memory_map, zone_names

E820_KINDS = {  # what /proc/iomem calls a range: what the firmware map calls it
    "System RAM": "usable",
    "Reserved": "reserved",
    "ACPI Tables": "ACPI data",
    "ACPI Non-volatile Storage": "ACPI NVS",
    "Unusable memory": "unusable",
}
HIGH_ZONE = "HighMem"
MOVABLE = "Movable"  # has no range of its own at boot
SECTION_PAGES = 1 << 27 - PAGE_SHIFT  # memory is known to the kernel in sections of 128 MiB
KB_SHIFT = PAGE_SHIFT - 10


class FirmwareRange(NamedTuple):
    """A line of the firmware's map; kind as it names it: usable, reserved, ACPI data …"""

    memory: PhysRange
    kind: str


class ZoneRange(NamedTuple):
    """A zone of the whole machine; memory is None if it is empty."""

    zone: str
    memory: PhysRange | None


class NodeRange(NamedTuple):
    """Memory of a node, or the span from its first to its last."""

    node: int
    memory: PhysRange


class Unavailable(NamedTuple):
    """Page frames in a zone's sections that are no memory."""

    node: int
    zone: str
    nr_pages: int


class MemorySummary(NamedTuple):
    """The line "Memory:"; all numbers are KiB, highmem is None where the build has no such zone."""

    available: int
    physical: int
    code: int
    rwdata: int
    rodata: int
    init: int
    bss: int
    reserved: int
    cma_reserved: int
    highmem: int | None = None


class BootMemory(NamedTuple):
    """All that the messages say, in their order."""

    firmware: tuple[FirmwareRange, ...]
    zones: tuple[ZoneRange, ...]
    node_ranges: tuple[NodeRange, ...]
    node_spans: tuple[NodeRange, ...]
    unavailable: tuple[Unavailable, ...]
    summary: MemorySummary | None


def boot_memory_rows(machine: Machine) -> BootMemory:
    """Return what the machine's kernel says about memory; call it at step 0 for what boot printed."""
    ranges = _node_ranges(machine)
    return BootMemory(
        tuple(
            FirmwareRange(memory, E820_KINDS[kind])
            for memory, kind in memory_map(machine)
            if kind in E820_KINDS
        ),
        _zone_ranges(machine),
        ranges,
        _node_spans(machine, ranges),
        _unavailable(machine),
        _summary(machine),
    )


def with_memory_lines(machine: Machine, lines: tuple[BootLine, ...]) -> tuple[BootLine, ...]:
    """Return the boot's other lines with those about memory where the kernel prints them.

    The firmware's map comes first, zones and nodes before the CPUs are counted, "Memory:" last.
    """
    rows = boot_memory_rows(machine)
    nothing = BootMemory((), (), (), (), (), None)
    firmware = boot_memory_lines(nothing._replace(firmware=rows.firmware))
    summary = boot_memory_lines(nothing._replace(summary=rows.summary))
    between = boot_memory_lines(rows._replace(firmware=(), summary=None))
    counted = (at for at, line in enumerate(lines) if line.text.startswith("smpboot: Allowing"))
    at = next(counted, len(lines))
    return (*firmware, *lines[:at], *between, *lines[at:], *summary)


def _memory(pages: PfnRange) -> PhysRange:
    return PhysRange(pages[0] << PAGE_SHIFT, (pages[1] << PAGE_SHIFT) - 1)


def _zone_ranges(machine: Machine) -> tuple[ZoneRange, ...]:
    """Return every zone's part of the stretch from the first memory to the last."""
    first = min(zone.buddy.start_pfn for zone in machine.pages.zones)
    end = max(zone.buddy.end_pfn for zone in machine.pages.zones)
    arch = machine.config.kernel.arch
    limits = {"DMA": 16 << 20, "DMA32": 4 << 30}
    if not arch.is_64bit:
        limits["Normal"] = arch.direct_map_bytes_max
    rows: list[ZoneRange] = []
    for name in zone_names(machine):
        if name == MOVABLE:
            continue
        limit = limits[name] >> PAGE_SHIFT if name in limits else end
        upto = max(min(limit, end), first)
        rows.append(ZoneRange(name, _memory((first, upto)) if first < upto else None))
        first = upto
    return tuple(rows)


def _node_ranges(machine: Machine) -> tuple[NodeRange, ...]:
    """Return the whole pages of each node's memory, by address."""
    rows = [
        NodeRange(number, _memory((memory.first_pfn, memory.end_pfn)))
        for number, node in enumerate(machine.config.nodes)
        for memory in node.memory
        if memory.nr_pages
    ]
    return tuple(sorted(rows, key=lambda row: row.memory))


def _node_spans(machine: Machine, ranges: tuple[NodeRange, ...]) -> tuple[NodeRange, ...]:
    rows: list[NodeRange] = []
    for node in machine.topology.nodes:
        own = [row.memory for row in ranges if row.node == node]
        if own:
            rows.append(NodeRange(node, PhysRange(own[0].start, own[-1].last)))
    return tuple(rows)


def _unavailable(machine: Machine) -> tuple[Unavailable, ...]:
    """Return the holes before each range of memory and behind the last, by who was charged."""
    ranges = [(row.memory.first_pfn, row.memory.end_pfn, row.node) for row in _node_ranges(machine)]
    sections = _sections([(start, end) for start, end, _ in ranges])
    rows: list[Unavailable] = []
    hole_pfn = end = node = 0
    name = ""
    for start, end, node in ranges:
        for zone in machine.pages.zones_of(node):
            low = max(start, zone.buddy.start_pfn)
            high = min(end, zone.buddy.end_pfn)
            if low < high:
                _charge(rows, node, zone.name, (hole_pfn, low), sections)
                hole_pfn = max(hole_pfn, high)
                name = zone.name
    _charge(rows, node, name, (hole_pfn, align_up(end, SECTION_PAGES)), sections)
    return tuple(rows)


def _sections(ranges: list[PfnRange]) -> list[PfnRange]:
    """Return the sections that hold memory, ascending, joined where they touch."""
    joined: list[PfnRange] = []
    for start, end in ranges:
        first, last = align_down(start, SECTION_PAGES), align_up(end, SECTION_PAGES)
        if joined and first <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return joined


def _charge(
    rows: list[Unavailable], node: int, zone: str, hole: PfnRange, sections: list[PfnRange]
) -> None:
    nr_pages = sum(max(min(hole[1], end) - max(hole[0], start), 0) for start, end in sections)
    if nr_pages:
        rows.append(Unavailable(node, zone, nr_pages))


def _summary(machine: Machine) -> MemorySummary:
    """Return the sizes; parts of the kernel that no symbols tell of are 0."""
    zones = machine.pages.zones
    nr_present = sum(zone.buddy.nr_present_pages for zone in zones)
    nr_managed = sum(zone.nr_managed_pages for zone in zones)
    nr_high = sum(zone.buddy.nr_present_pages for zone in zones if zone.name == HIGH_ZONE)
    nr_free = sum(zone.buddy.nr_free_pages for zone in zones)
    parts = {name: memory.last + 1 - memory.start >> 10 for name, memory in kernel_parts(machine)}
    return MemorySummary(
        available=nr_free << KB_SHIFT,
        physical=nr_present << KB_SHIFT,
        code=parts.get("Kernel code", 0),
        rwdata=parts.get("Kernel data", 0),
        rodata=parts.get("Kernel rodata", 0),
        init=0,
        bss=parts.get("Kernel bss", 0),
        reserved=nr_present - nr_managed << KB_SHIFT,
        cma_reserved=0,
        highmem=nr_high << KB_SHIFT if HIGH_ZONE in zone_names(machine) else None,
    )


def boot_memory_lines(rows: BootMemory) -> tuple[BootLine, ...]:
    """Return the messages, without those that other parts of the kernel print between them."""
    lines: list[str] = []
    if rows.firmware:
        lines.append("BIOS-provided physical RAM map:")
        lines += [f"BIOS-e820: {_mem(row.memory)} {row.kind}" for row in rows.firmware]
    if rows.zones:
        lines.append("Zone ranges:")
        lines += [
            f"  {row.zone:<8} {'empty' if row.memory is None else _mem(row.memory)}"
            for row in rows.zones
        ]
        lines.append("Movable zone start for each node")
    if rows.node_ranges:
        lines.append("Early memory node ranges")
        lines += [f"  node {row.node:3}: {_mem(row.memory)}" for row in rows.node_ranges]
    lines += [f"Initmem setup node {row.node} {_mem(row.memory)}" for row in rows.node_spans]
    lines += [
        f"On node {row.node}, zone {row.zone}: {row.nr_pages} pages in unavailable ranges"
        for row in rows.unavailable
    ]
    if rows.summary is not None:
        lines.append(_summary_line(rows.summary))
    return tuple(BootLine(KERN_INFO, line) for line in lines)


def boot_memory_text(rows: BootMemory) -> str:
    """Return the messages as text, one a line, without times."""
    return "".join(f"{line.text}\n" for line in boot_memory_lines(rows))


def _summary_line(summary: MemorySummary) -> str:
    high = "" if summary.highmem is None else f", {summary.highmem}K highmem"
    return (
        f"Memory: {summary.available}K/{summary.physical}K available ({summary.code}K kernel code, "
        f"{summary.rwdata}K rwdata, {summary.rodata}K rodata, {summary.init}K init, "
        f"{summary.bss}K bss, {summary.reserved}K reserved, {summary.cma_reserved}K cma-reserved"
        f"{high})"
    )


def _mem(memory: PhysRange) -> str:
    return f"[mem {memory.start:#018x}-{memory.last:#018x}]"
