"""/proc/meminfo: where all memory is, in kB.

    MemTotal:        1998108 kB      what the page allocator has or had to give
    Percpu:             1040 kB      all units' pages, the first chunk's too
    DirectMap2M:     2060288 kB      mapped by pages of that size

The simulated machine has no processes, page cache, swap or huge pages: those lines are 0. PageTables
counts the kernel's own tables, the only ones here; a real kernel counts those of processes.
Source: fs/proc/meminfo.c, Linux 6.1: meminfo_proc_show(); mm/page_alloc.c: si_mem_available();
arch/x86/mm/pat/set_memory.c: arch_report_meminfo().
"""

from __future__ import annotations

from typing import NamedTuple

from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.zone import Zone
from kernel_sim.proc.sources import (
    direct_map_bytes,
    nr_percpu_pages,
    nr_slab_pages,
    nr_table_pages,
    vmalloc_areas,
    zone_protection,
    zone_watermarks,
)

KB = "kB"
LABEL_CHARS = 16
LINE_CHARS = 24  # label and number, unless the number is longer
KB_SHIFT = PAGE_SHIFT - 10
OVERCOMMIT_PERCENT = 50
HUGE_PAGE_KB = {2: 4096}  # by levels of page tables; 2048 with more than two
HIGH_MEMORY = ("HighTotal", "HighFree", "LowTotal", "LowFree")  # only of kernels that have it
HIGH_ZONE = "HighMem"
NAMES = (
    "MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapCached", "Active", "Inactive",
    "Active(anon)", "Inactive(anon)", "Active(file)", "Inactive(file)", "Unevictable", "Mlocked",
    *HIGH_MEMORY, "SwapTotal", "SwapFree", "Zswap", "Zswapped", "Dirty", "Writeback", "AnonPages",
    "Mapped", "Shmem", "KReclaimable", "Slab", "SReclaimable", "SUnreclaim", "KernelStack",
    "PageTables", "SecPageTables", "NFS_Unstable", "Bounce", "WritebackTmp", "CommitLimit",
    "Committed_AS", "VmallocTotal", "VmallocUsed", "VmallocChunk", "Percpu", "HardwareCorrupted",
    "AnonHugePages", "ShmemHugePages", "ShmemPmdMapped", "FileHugePages", "FilePmdMapped",
    "Unaccepted", "HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp",
    "Hugepagesize", "Hugetlb", "DirectMap4k", "DirectMap2M", "DirectMap4M", "DirectMap1G",
)  # fmt: skip
DIRECT_MAP_NAMES = {
    4 << 10: "DirectMap4k",
    2 << 20: "DirectMap2M",
    4 << 20: "DirectMap4M",
    1 << 30: "DirectMap1G",
}
COUNTED_NAMES = ("HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp")


class MeminfoRow(NamedTuple):
    """One line; unit is "kB", or "" for a number of huge pages."""

    name: str
    value: int
    unit: str


def meminfo_rows(machine: Machine) -> tuple[MeminfoRow, ...]:
    """Return all lines in the order of the machine's kernel."""
    values = _kilobytes(machine)
    left_out = _left_out(machine)
    return tuple(
        MeminfoRow(name, values.get(name, 0), "" if name in COUNTED_NAMES else KB)
        for name in NAMES
        if name not in left_out
    )


def _left_out(machine: Machine) -> tuple[str, ...]:
    """Return the lines that this kernel does not have."""
    kernel = machine.config.kernel
    names: tuple[str, ...] = ("Unaccepted",) if kernel.version == "6.1" else ()
    if kernel.arch.is_64bit:
        return (*names, *HIGH_MEMORY, "DirectMap4M")
    other_large = "DirectMap4M" if kernel.page_table_levels == 3 else "DirectMap2M"
    return (*names, other_large, "DirectMap1G", "HardwareCorrupted")


def _kilobytes(machine: Machine) -> dict[str, int]:
    zones = [zone for zone in machine.pages.zones if zone.buddy.nr_present_pages]
    high = [zone for zone in zones if zone.name == HIGH_ZONE]
    nr_total = sum(zone.nr_managed_pages for zone in zones)
    nr_high = sum(zone.nr_managed_pages for zone in high)
    nr_free = sum(zone.buddy.nr_free_pages for zone in zones)
    nr_high_free = sum(zone.buddy.nr_free_pages for zone in high)
    nr_slab = nr_slab_pages(machine)
    pages = {
        "MemTotal": nr_total,
        "MemFree": nr_free,
        "MemAvailable": max(nr_free - _reserve_pages(machine, zones), 0),
        "HighTotal": nr_high,
        "HighFree": nr_high_free,
        "LowTotal": nr_total - nr_high,
        "LowFree": nr_free - nr_high_free,
        "Slab": nr_slab,
        "SUnreclaim": nr_slab,
        "PageTables": nr_table_pages(machine),
        "CommitLimit": nr_total * OVERCOMMIT_PERCENT // 100,
        "VmallocUsed": sum(area.nr_pages for area in vmalloc_areas(machine)[0]),
        "Percpu": nr_percpu_pages(machine),
    }
    values = {name: nr_pages << KB_SHIFT for name, nr_pages in pages.items()}
    values["VmallocTotal"] = machine.config.vmalloc.total_bytes >> 10
    values["Hugepagesize"] = HUGE_PAGE_KB.get(machine.config.kernel.page_table_levels, 2048)
    for page_bytes, size_bytes in direct_map_bytes(machine).items():
        values[DIRECT_MAP_NAMES[page_bytes]] = size_bytes >> 10
    return values


def _reserve_pages(machine: Machine, zones: list[Zone]) -> int:
    """Return the pages that no ordinary request gets. Source: calculate_totalreserve_pages()."""
    return sum(
        min(
            max(zone_protection(machine, zone)) + zone_watermarks(machine, zone).high,
            zone.nr_managed_pages,
        )
        for zone in zones
    )


def meminfo_text(rows: tuple[MeminfoRow, ...]) -> str:
    """Return the file as the kernel prints it."""
    return "".join(_line(row) for row in rows)


def _line(row: MeminfoRow) -> str:
    label = f"{row.name}:".ljust(LABEL_CHARS)
    number = str(row.value).rjust(LINE_CHARS - len(label))
    return f"{label}{number}{' ' * bool(row.unit)}{row.unit}\n"
