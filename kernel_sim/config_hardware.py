"""The tables of a description that say what lies beneath the per-CPU memory, each a frozen record.

    [memory]   how pages are handed out, the firmware's map, what boot keeps for itself
    [tlb]      which processor's TLBs a CPU has
    [modules]  where the module space lies
    [trace]    which of the frequent tracepoints are on
    [vmalloc]  where vmalloc space lies, and who else already has areas in it

A recording made before one of these tables existed has none of it: its machine had plain pages and no TLB.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from kernel_sim.alignment import align_down
from kernel_sim.arch import MIB, Arch
from kernel_sim.config_table import ConfigTable, parse_address, shown
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.mm.phys_range import PhysRange

VMALLOC_OFFSET = 8 * MIB
PAGE_PROFILES = ("modern", "2.6.20", "plain")
TLB_PROFILES = ("skylake", "nehalem", "pentium4", "pentium3", "none")
DEFAULT_TLB = {"x86-64": "skylake", "i386": "pentium4"}
RANGES_MAX = 1024
AREAS_MAX = 65536
MIN_FREE_KBYTES_MAX = 1 << 32
CALLER_CHARS_MAX = 100
SYSTEM_RAM = "System RAM"
BEFORE_THEY_EXISTED: dict[str, dict[str, object]] = {
    "memory": {"pages": "plain"},
    "tlb": {"profile": "none"},
}
"""What a recording of schema 1 leaves out, because machines had nothing of it."""


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    """How pages are handed out; map is the firmware's, reserved what boot keeps, both ascending."""

    pages: str
    min_free_kbytes: int  # 0: computed from the memory there is
    map: tuple[tuple[PhysRange, str], ...]
    reserved: tuple[PhysRange, ...]

    @classmethod
    def from_table(cls, table: ConfigTable, *, usual: str = "modern") -> MemoryConfig:
        """Read [memory]; usual is the profile of the per-CPU system's day."""
        return cls(
            pages=table.choice("pages", PAGE_PROFILES, usual),
            min_free_kbytes=table.integer(
                "min_free_kbytes", 0, lowest=0, highest=MIN_FREE_KBYTES_MAX
            ),
            map=_read_map(table),
            reserved=tuple(pages for pages, _ in _read_ranges(table, "reserved")),
        )

    def to_mapping(self) -> dict[str, object]:
        """Return the table as builtin types."""
        return {
            "pages": self.pages,
            "min_free_kbytes": self.min_free_kbytes,
            "map": [f"{place} {kind}" for place, kind in self.map],
            "reserved": [str(place) for place in self.reserved],
        }


@dataclass(frozen=True, slots=True)
class TlbConfig:
    """Which processor's TLBs every CPU has; "none" walks the tables at every access."""

    profile: str

    @classmethod
    def from_table(cls, table: ConfigTable, *, arch: Arch) -> TlbConfig:
        """Read [tlb]."""
        return cls(table.choice("profile", TLB_PROFILES, DEFAULT_TLB[arch.name]))


@dataclass(frozen=True, slots=True)
class TakenArea:
    """A vmalloc area that somebody else has when the machine starts: end is exclusive."""

    start: int
    end: int
    caller: str

    def __str__(self) -> str:
        return f"{self.start:#x}-{self.end:#x} {self.caller}".rstrip()


@dataclass(frozen=True, slots=True)
class VmallocConfig:
    """VMALLOC_START and VMALLOC_END as the kernel has them: end is the last byte."""

    start: int
    end: int
    areas: tuple[TakenArea, ...] = ()

    @property
    def total_bytes(self) -> int:
        """VMALLOC_TOTAL: the kernel's own, one byte short."""
        return self.end - self.start

    @classmethod
    def from_table(
        cls, table: ConfigTable, *, arch: Arch, memory_end: int | None = None
    ) -> VmallocConfig:
        """Read [vmalloc]; memory_end: i386's space begins above memory that ends there."""
        usual = arch.vmalloc_start
        if memory_end is not None and not arch.is_64bit:
            usual = vmalloc_start_above(arch, memory_end)
        start = table.address("start", usual)
        end = table.address("end", arch.vmalloc_end)
        _check_space(table, start, end, arch)
        return cls(start, end, _read_areas(table, start, end))

    def to_mapping(self) -> dict[str, object]:
        """Return the table as builtin types."""
        mapping: dict[str, object] = {"start": f"{self.start:#x}", "end": f"{self.end:#x}"}
        if self.areas:
            mapping["areas"] = [str(area) for area in self.areas]
        return mapping


@dataclass(frozen=True, slots=True)
class ModulesConfig:
    """MODULES_VADDR and the last byte of the module space; on i386 it is the vmalloc space."""

    start: int
    end: int

    @classmethod
    def from_table(cls, table: ConfigTable, *, arch: Arch, vmalloc: VmallocConfig) -> ModulesConfig:
        """Read [modules]."""
        own = arch.is_64bit
        start = table.address("start", arch.modules_start if own else vmalloc.start)
        end = table.address("end", arch.modules_end if own else vmalloc.end)
        _check_space(table, start, end, arch)
        if not own and (start, end) != (vmalloc.start, vmalloc.end):
            raise table.error(
                "start", f"{start:#x}; expected the vmalloc space, where i386 has its modules"
            )
        return cls(start, end)


@dataclass(frozen=True, slots=True)
class TraceConfig:
    """Which of the tracepoints that fire at every page are on; all others always are."""

    kmem: bool

    @classmethod
    def from_table(cls, table: ConfigTable) -> TraceConfig:
        """Read [trace]."""
        return cls(table.boolean("kmem", False))


def vmalloc_start_above(arch: Arch, memory_end: int) -> int:
    """Return VMALLOC_START of i386: 8 MiB are left free above low memory, and the rest up to a multiple.

    Source: include/asm-i386/pgtable.h, Linux 2.6.17.
    """
    high_memory = arch.direct_map_addr + min(memory_end, arch.direct_map_bytes_max)
    return align_down(high_memory + 2 * VMALLOC_OFFSET - 1, VMALLOC_OFFSET)


def _check_space(table: ConfigTable, start: int, end: int, arch: Arch) -> None:
    lowest = arch.direct_map_addr if not arch.is_64bit else 1 << 63
    if start % PAGE_SIZE_BYTES or not lowest <= start <= arch.address_mask:
        raise table.error("start", f"{start:#x}; expected a kernel address on a page boundary")
    if (end + 1) % PAGE_SIZE_BYTES or not start < end <= arch.address_mask:
        raise table.error("end", f"{end:#x}; expected the last byte of a page above start")


def _read_ranges(table: ConfigTable, key: str) -> list[tuple[PhysRange, str]]:
    """Return "0x0-0x9fbff System RAM" as range and rest, ascending and apart."""
    if not table.has(key):
        return []
    found: list[tuple[PhysRange, str]] = []
    for entry in table.sequence(key, entries_max=RANGES_MAX):
        text, _, rest = (entry if isinstance(entry, str) else "").strip().partition(" ")
        first, dash, last = text.partition("-")
        start, end = parse_address(first), parse_address(last)
        if not dash or start is None or end is None or start > end:
            raise table.error(key, f'{shown(entry)}; expected a range such as "0x0-0x9fbff"')
        if found and start <= found[-1][0].last:
            raise table.error(key, f"{shown(entry)}; expected it above {found[-1][0]}")
        found.append((PhysRange(start, end), rest.strip()))
    return found


def _read_map(table: ConfigTable) -> tuple[tuple[PhysRange, str], ...]:
    found = _read_ranges(table, "map")
    for place, kind in found:
        if not kind.isprintable() or not kind or len(kind) > CALLER_CHARS_MAX:
            raise table.error("map", f"{place}: expected what it is behind it, such as System RAM")
    return tuple(found)


def _read_areas(table: ConfigTable, start: int, end: int) -> tuple[TakenArea, ...]:
    if not table.has("areas"):
        return ()
    found: list[TakenArea] = []
    for entry in _entries(table):
        text, _, caller = entry.partition(" ")
        first, _, last = text.partition("-")
        low, high = parse_address(first), parse_address(last)
        if low is None or high is None or (low | high) % PAGE_SIZE_BYTES or low >= high:
            raise table.error(
                "areas", f'{shown(entry)}; expected whole pages such as "0x…000-0x…000 caller"'
            )
        if low < start or high > end + 1:
            raise table.error("areas", f"{shown(entry)}; expected it inside {start:#x}-{end:#x}")
        if len(caller) > CALLER_CHARS_MAX or not caller.isprintable():
            raise table.error("areas", f"{shown(entry)}; expected a short name behind it")
        found.append(TakenArea(low, high, caller.strip()))
    found.sort(key=lambda area: area.start)
    for below, above in itertools.pairwise(found):
        if above.start < below.end:
            raise table.error("areas", f"{above} overlaps {below}; expected areas apart")
    return tuple(found)


def _entries(table: ConfigTable) -> Sequence[str]:
    entries = table.sequence("areas", entries_max=AREAS_MAX)
    for entry in entries:
        if not isinstance(entry, str):
            raise table.error("areas", f"{shown(entry)}; expected a text")
    return [str(entry).strip() for entry in entries]
