"""x86-64 page tables: what the bits of an entry mean, and how hardware walks them.

    virt   63        48 47    39 38    30 29    21 20    12 11       0
           [sign of 47 ][  PGD  ][  PUD  ][  PMD  ][  PTE  ][ offset ]      4 levels of 512 entries

    entry  63 62..59 58 57 52..51                  12 11..9  8 7   6 5 4   3   2    1  0
           [NX][pkey][soft ][0][ page frame number  ][soft ][G][PS][D][A][PCD][PWT][US][RW][P]

With 5 levels a P4D stands between PGD and PUD, and bit 56 is the sign. PS in a PUD entry makes it
map 1 GiB, in a PMD entry 2 MiB; such an entry has its PAT bit at 12 and zeros from 13 up to its
page's size. A 4 KiB entry has its PAT bit where the others have PS.

Source: arch/x86/include/asm/pgtable_types.h, Linux 6.14; the architecture's manual for reserved
bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kernel_sim.errors import ConfigError
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES

PRESENT: Final = 1 << 0
RW: Final = 1 << 1
USER: Final = 1 << 2
PWT: Final = 1 << 3
PCD: Final = 1 << 4
ACCESSED: Final = 1 << 5
DIRTY: Final = 1 << 6
PSE: Final = 1 << 7
PAT: Final = 1 << 7
GLOBAL: Final = 1 << 8
SOFTW1: Final = 1 << 9
SOFTW2: Final = 1 << 10
SOFTW3: Final = 1 << 11
PAT_LARGE: Final = 1 << 12
SOFTW5: Final = 1 << 57
SOFTW4: Final = 1 << 58
PKEY0: Final = 1 << 59
NX: Final = 1 << 63

KERNEL_TABLE: Final = PRESENT | RW | ACCESSED | DIRTY
"""Flags of an entry that points to a lower table."""
PAGE_KERNEL: Final = PRESENT | RW | ACCESSED | DIRTY | GLOBAL | NX
"""Flags of kernel data; a large page has PSE besides."""
PAGE_KERNEL_EXEC: Final = PAGE_KERNEL & ~NX

ENTRY_BYTES: Final = 8
ENTRIES_PER_TABLE: Final = PAGE_SIZE_BYTES // ENTRY_BYTES
INDEX_BITS: Final = 9
PFN_MASK: Final = (1 << 52) - PAGE_SIZE_BYTES
LEVEL_NAMES: Final = {4: ("PGD", "PUD", "PMD", "PTE"), 5: ("PGD", "P4D", "PUD", "PMD", "PTE")}
LEVEL_SHIFT: Final = {"PTE": 12, "PMD": 21, "PUD": 30}
"""Bit at which the index of a level that can map pages begins: 1 << shift is that page's size."""

_INDEX_MASK: Final = ENTRIES_PER_TABLE - 1
_FLAG_NAMES: Final = (
    (PRESENT, "PRESENT"),
    (RW, "RW"),
    (USER, "USER"),
    (PWT, "PWT"),
    (PCD, "PCD"),
    (ACCESSED, "ACCESSED"),
    (DIRTY, "DIRTY"),
    (PSE, "PSE"),
    (GLOBAL, "GLOBAL"),
    (SOFTW1, "SOFTW1"),
    (SOFTW2, "SOFTW2"),
    (SOFTW3, "SOFTW3"),
    (SOFTW5, "SOFTW5"),
    (SOFTW4, "SOFTW4"),
    (PKEY0, "PKEY0"),
    (PKEY0 << 1, "PKEY1"),
    (PKEY0 << 2, "PKEY2"),
    (PKEY0 << 3, "PKEY3"),
    (NX, "NX"),
)


@dataclass(frozen=True, slots=True)
class WalkLevel:
    """One table on the way: which entry was read, from where, and what it said."""

    name: str
    table_pfn: int
    index: int
    entry_phys: int
    entry: int
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Walk:
    """The way of one virtual address; phys and page_size_bytes are None if it ends in a fault."""

    virt: int
    levels: tuple[WalkLevel, ...]
    phys: int | None
    page_size_bytes: int | None
    fault: str | None


def make_entry(pfn: int, flags: int) -> int:
    """Return the entry that points to page frame pfn with these flag bits."""
    return (pfn << PAGE_SHIFT) & PFN_MASK | flags


def entry_pfn(entry: int) -> int:
    """Return the page frame number in an entry that maps 4 KiB or points to a table."""
    return (entry & PFN_MASK) >> PAGE_SHIFT


def flag_names(entry: int, *, is_pte: bool = False) -> tuple[str, ...]:
    """Return the names of the flag bits set in an entry, lowest bit first.

    is_pte says that the entry is of the lowest level, where bit 7 is PAT. A large page's own PAT,
    bit 12, is named too; anywhere else that bit belongs to the frame number.
    """
    names = [name for bit, name in _FLAG_NAMES if entry & bit]
    if entry & PSE:
        names = ["PAT" if name == "PSE" and is_pte else name for name in names]
        if not is_pte and entry & PAT_LARGE:
            names.append("PAT_LARGE")
    return tuple(names)


def is_canonical(virt: int, levels: int = 4) -> bool:
    """Say whether all upper bits of a 64-bit virt repeat the highest translated one."""
    sign_bit = PAGE_SHIFT + INDEX_BITS * levels - 1
    top = virt >> sign_bit
    return top == 0 or top == (1 << (64 - sign_bit)) - 1


def table_index(virt: int, shift: int) -> int:
    """Return which of the 512 entries serves virt in a table whose index begins at bit shift."""
    return virt >> shift & _INDEX_MASK


def entry_fault(name: str, entry: int) -> str | None:
    """Return why hardware cannot go on from this entry of level name, or None if it can."""
    if not entry & PRESENT:
        return f"not present in the {name}"
    if name == "PTE" or not entry & PSE:
        return None
    shift = LEVEL_SHIFT.get(name)
    if shift is None:
        return f"reserved bit 7 set in the {name}"
    if entry & PFN_MASK & ((1 << shift) - 1) & ~PAT_LARGE:
        return f"reserved address bits set in a large page's {name}"
    return None


def walk(read_u64: Callable[[int], int], root_pfn: int, virt: int, levels: int = 4) -> Walk:
    """Translate virt as hardware does, reading entries by physical address, and report every step.

    No bits found in the tables make it raise; ConfigError only if levels is neither 4 nor 5.
    """
    names = LEVEL_NAMES.get(levels)
    if names is None:
        raise ConfigError(f"x86-64 has 4 or 5 levels of page tables, not {levels}")
    if not is_canonical(virt, levels):
        return Walk(virt, (), None, None, "non-canonical address")
    steps: list[WalkLevel] = []
    table_pfn = root_pfn
    shift = PAGE_SHIFT + INDEX_BITS * levels
    for name in names:
        shift -= INDEX_BITS
        index = table_index(virt, shift)
        entry_phys = (table_pfn << PAGE_SHIFT) + index * ENTRY_BYTES
        entry = read_u64(entry_phys)
        flags = flag_names(entry, is_pte=name == "PTE")
        steps.append(WalkLevel(name, table_pfn, index, entry_phys, entry, flags))
        fault = entry_fault(name, entry)
        if fault is not None:
            return Walk(virt, tuple(steps), None, None, fault)
        if name == "PTE" or entry & PSE:
            break
        table_pfn = entry_pfn(entry)
    offset_mask = (1 << shift) - 1
    phys = entry & PFN_MASK & ~offset_mask | virt & offset_mask
    return Walk(virt, tuple(steps), phys, offset_mask + 1, None)
