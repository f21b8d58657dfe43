"""The four kinds of page tables that x86 has: which tables, how wide, what may stand in them.

    mode            virt  63    48 47  39 38  30 29  21 20  12 11     0
    x86-64 4-level        [sign  ][ PGD ][ PUD ][ PMD ][ PTE ][offset ]
    x86-64 5-level        [sign 57][PGD at 48][ P4D at 39, then as above ]

                               31 30 29    22 21 20    12 11      0
    i386 PAE                   [PGD ][    PMD   ][  PTE  ][ offset ]     4 + 512 + 512 entries of 8 bytes
    i386 2-level               [  PGD    ][     PTE      ][ offset ]     1024 entries of 4 bytes

Levels have Linux's names, folded ones left out. The 4 entries on top of PAE know only "present": rights, the
accessed bit and NX are reserved there. Hardware reads them when CR3 is loaded; here they are read at
every walk as all the others are.
Source: the architecture's manual, paging; arch/x86/include/asm/pgtable-{2,3}level_types.h and
pgtable_64_types.h, Linux 6.1. Not modelled: PSE-36, a MAXPHYADDR below 52 bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from kernel_sim.errors import ConfigError
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.paging import (
    ACCESSED,
    DIRTY,
    ENTRY_BYTES,
    GLOBAL,
    I386_ADDRESS_BITS,
    KERNEL_TABLE,
    NX,
    PAT_LARGE,
    PFN_MASK,
    PRESENT,
    PSE,
    RW,
    USER,
)

_ABOVE_FRAME: Final = NX - 1 & ~((1 << 52) - 1)
"""Bits 52 to 62: software's and protection keys on x86-64, reserved with PAE."""
_PAE_TOP_RESERVED: Final = RW | USER | ACCESSED | DIRTY | GLOBAL | NX | _ABOVE_FRAME
_LOW_FLAGS: Final = PAGE_SIZE_BYTES - 1


@dataclass(frozen=True, slots=True)
class PagingLevel:
    """One level of tables: 1 << shift is what one of its entries covers, in bytes.

    reserved_bits must be zero in an entry that points to a table (in the lowest level: to a page),
    reserved_large_bits in one that has PSE set; PSE itself among them means: no large pages here.
    """

    name: str
    shift: int
    nr_entries: int
    reserved_bits: int
    reserved_large_bits: int


@dataclass(frozen=True, slots=True)
class PagingMode:
    """How one kind of x86 page tables is laid out; what walks need is worked out beforehand.

    is_top_bare: the entries of the first level carry no rights (PAE).
    """

    name: str
    arch: str
    levels: tuple[PagingLevel, ...]
    entry_bytes: int
    pfn_mask: int
    flag_mask: int
    """Bits of an entry that are flags; others of what is asked for are dropped, such as NX."""
    virt_bits: int
    is_top_bare: bool = False
    index_mask: int = field(init=False)
    entry_shift: int = field(init=False)
    is_wide: bool = field(init=False)
    """Whether an entry has 64 bits."""
    sign_bit: int = field(init=False)
    sign_top: int = field(init=False)
    steps: tuple[tuple[int, int, int], ...] = field(init=False)
    """For each level: shift, reserved_bits, reserved_large_bits."""
    leaf_shifts: tuple[int, ...] = field(init=False)
    """Sizes of pages as powers of two, the largest first."""

    def __post_init__(self) -> None:
        is_64bit = self.virt_bits > I386_ADDRESS_BITS
        sign_bit = self.virt_bits - is_64bit
        derived: dict[str, object] = {
            "index_mask": PAGE_SIZE_BYTES // self.entry_bytes - 1,
            "entry_shift": self.entry_bytes.bit_length() - 1,
            "is_wide": self.entry_bytes == ENTRY_BYTES,
            "sign_bit": sign_bit,
            "sign_top": (1 << (64 - sign_bit)) - 1 if is_64bit else 0,
            "steps": tuple(
                (level.shift, level.reserved_bits, level.reserved_large_bits)
                for level in self.levels
            ),
            "leaf_shifts": tuple(
                level.shift
                for level in self.levels
                if level.shift == PAGE_SHIFT or not level.reserved_large_bits & PSE
            ),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def has_nx(self) -> bool:
        """Whether an entry can forbid execution."""
        return self.flag_mask & NX != 0

    @property
    def address_mask(self) -> int:
        """All bits that an address can have."""
        return (1 << (64 if self.sign_top else I386_ADDRESS_BITS)) - 1

    def is_address(self, virt: int) -> bool:
        """Say whether virt can be translated at all: canonical, or on i386 of 32 bits."""
        top = virt >> self.sign_bit
        return not top or top == self.sign_top

    def address_fault(self) -> str:
        """Return what is wrong with an address for which is_address() says no."""
        return "non-canonical address" if self.sign_top else "not a 32-bit address"

    def table_index(self, virt: int, shift: int) -> int:
        """Return which entry serves virt in a table whose index begins at bit shift."""
        return virt >> shift & self.index_mask

    def table_flags(self, level_index: int, flags: int) -> int:
        """Return the flags of an entry that points to a table under which a page has these flags."""
        if self.is_top_bare and level_index == 0:
            return PRESENT
        return KERNEL_TABLE | flags & USER


def paging_mode(arch: str, levels: int) -> PagingMode:
    """Return the mode of an architecture ("x86-64", "i386") with so many levels of tables.

    Raises ConfigError if there is none.
    """
    mode = MODES.get(levels)
    if mode is None or mode.arch != arch:
        known = " or ".join(str(number) for number, each in MODES.items() if each.arch == arch)
        expected = f"{arch} has {known}" if known else "expected x86-64 or i386"
        raise ConfigError(f"{arch} with {levels} levels of page tables; {expected}")
    return mode


def _large(shift: int) -> int:
    """Return the address bits that an entry of a large page must leave zero."""
    return ((1 << shift) - 1) & ~((PAT_LARGE << 1) - 1)


def _x86_64(name: str, tops: tuple[PagingLevel, ...], virt_bits: int) -> PagingMode:
    levels = (
        *tops,
        PagingLevel("PUD", 30, 512, 0, _large(30)),
        PagingLevel("PMD", 21, 512, 0, _large(21)),
        PagingLevel("PTE", 12, 512, 0, 0),
    )
    return PagingMode(
        name, "x86-64", levels, entry_bytes=8, pfn_mask=PFN_MASK, flag_mask=~PFN_MASK & (1 << 64) - 1,
        virt_bits=virt_bits,
    )  # fmt: skip


X86_64_4LEVEL: Final = _x86_64("x86-64 4-level", (PagingLevel("PGD", 39, 512, 0, PSE),), 48)
X86_64_5LEVEL: Final = _x86_64(
    "x86-64 5-level",
    (PagingLevel("PGD", 48, 512, 0, PSE), PagingLevel("P4D", 39, 512, 0, PSE)),
    57,
)
I386_2LEVEL: Final = PagingMode(
    "i386 2-level",
    "i386",
    (PagingLevel("PGD", 22, 1024, 0, _large(22)), PagingLevel("PTE", 12, 1024, 0, 0)),
    entry_bytes=4,
    pfn_mask=(1 << 32) - PAGE_SIZE_BYTES,
    flag_mask=_LOW_FLAGS,
    virt_bits=32,
)
I386_PAE: Final = PagingMode(
    "i386 PAE",
    "i386",
    (
        PagingLevel("PGD", 30, 4, _PAE_TOP_RESERVED, _PAE_TOP_RESERVED | PSE),
        PagingLevel("PMD", 21, 512, _ABOVE_FRAME, _ABOVE_FRAME | _large(21)),
        PagingLevel("PTE", 12, 512, _ABOVE_FRAME, 0),
    ),
    entry_bytes=8,
    pfn_mask=PFN_MASK,
    flag_mask=_LOW_FLAGS | NX,
    virt_bits=32,
    is_top_bare=True,
)
MODES: Final = MappingProxyType(
    {2: I386_2LEVEL, 3: I386_PAE, 4: X86_64_4LEVEL, 5: X86_64_5LEVEL},
)
"""By number of levels, which no two modes share."""
