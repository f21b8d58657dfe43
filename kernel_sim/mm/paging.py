"""Page-table entries of x86: what the bits mean, and which addresses there are at all.

    entry  63 62..59 58 57 52..51                  12 11..9  8 7   6 5 4   3   2    1  0
           [NX][pkey][soft ][0][ page frame number  ][soft ][G][PS][D][A][PCD][PWT][US][RW][P]

    i386 without PAE       31                      12 11..9  8 7   6 5 4   3   2    1  0
                           [ page frame number       ][soft ][G][PS][D][A][PCD][PWT][US][RW][P]

PS in an entry of an upper table makes it map one large page (4 MiB, 2 MiB or 1 GiB, by the table's
level); such an entry has its PAT bit at 12 and zeros from 13 up to its page's size. A 4 KiB entry has
its PAT bit where the others have PS. Which tables there are is in paging_modes.py.

Source: arch/x86/include/asm/pgtable_types.h, Linux 6.14; the architecture's manual for reserved
bits.
"""

from __future__ import annotations

from typing import Final

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
"""Size of an entry, but of i386 without PAE: that one's PagingMode says 4."""
ENTRIES_PER_TABLE: Final = PAGE_SIZE_BYTES // ENTRY_BYTES
INDEX_BITS: Final = 9
PFN_MASK: Final = (1 << 52) - PAGE_SIZE_BYTES
LEVEL_SHIFT: Final = {"PTE": 12, "PMD": 21, "PUD": 30}
"""Bit at which the index of a level that can map pages begins: 1 << shift is that page's size."""

X86_64_LEVELS_MIN: Final = 4
I386_ADDRESS_BITS: Final = 32

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


def large_flags(flags: int) -> int:
    """Return the flags of a 4 KiB entry as a large page's entry has them: PSE set, PAT at 12.

    Source: pgprot_4k_2_large() in arch/x86/include/asm/pgtable_types.h, Linux 6.1.
    """
    return flags & ~PAT | PSE | (PAT_LARGE if flags & PAT else 0)


def small_flags(flags: int) -> int:
    """Return the flags of a large page's entry as a 4 KiB entry has them: no PSE, PAT at 7.

    Source: pgprot_large_2_4k() in arch/x86/include/asm/pgtable_types.h, Linux 6.1.
    """
    return flags & ~(PSE | PAT_LARGE) | (PAT if flags & PAT_LARGE else 0)


def is_canonical(virt: int, levels: int = 4) -> bool:
    """Say whether an address exists with so many levels of tables.

    4 and 5 levels are x86-64: all upper bits repeat the highest translated one. 2 and 3 are i386:
    the address has 32 bits.
    """
    if levels < X86_64_LEVELS_MIN:
        return virt >> I386_ADDRESS_BITS == 0
    sign_bit = PAGE_SHIFT + INDEX_BITS * levels - 1
    top = virt >> sign_bit
    return top == 0 or top == (1 << (64 - sign_bit)) - 1


def table_index(virt: int, shift: int) -> int:
    """Return which of 512 entries serves virt in a table whose index begins at bit shift."""
    return virt >> shift & _INDEX_MASK
