"""What an architecture fixes: word size, the kernel's address ranges, the register behind per-CPU data.

    i386      0xc0000000 direct map (896 MiB at most) | 8 MiB | vmalloc, modules | pkmap | fixmap 0xfffff000
    x86-64    direct map | vmalloc | vmemmap | … | kernel image | modules | fixmap

Addresses are those of a kernel without KASLR. Source: Linux 6.1 arch/x86/include/asm, page_*_types.h and
pgtable_*_types.h; Documentation/x86/x86_64/mm.rst.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Arch:
    """One architecture with one depth of page tables; ends are the last byte, as the kernel has them."""

    name: str
    page_table_levels: int
    word_bytes: int
    base_register: str  # adds a CPU's offset to a __percpu pointer
    direct_map_addr: int
    direct_map_bytes_max: int
    image_map_addr: int  # the kernel image stands at this plus its physical address
    vmalloc_start: int
    vmalloc_end: int
    modules_start: int
    modules_end: int
    fixmap_start: int
    fixmap_end: int
    phys_bits: int
    percpu_is_zero_based: bool  # static variables are linked at 0, not inside the image

    @property
    def address_mask(self) -> int:
        """All bits that an address can have."""
        return (1 << 8 * self.word_bytes) - 1

    @property
    def is_64bit(self) -> bool:
        """Whether an address has 64 bits."""
        return self.word_bytes == 8


def _x86_64(levels: int, direct_map: int, direct_map_bytes: int, vmalloc: tuple[int, int]) -> Arch:
    return Arch(
        name="x86-64",
        page_table_levels=levels,
        word_bytes=8,
        base_register="gs",
        direct_map_addr=direct_map,
        direct_map_bytes_max=direct_map_bytes,
        image_map_addr=0xFFFFFFFF80000000,
        vmalloc_start=vmalloc[0],
        vmalloc_end=vmalloc[1],
        modules_start=0xFFFFFFFFC0000000,
        modules_end=0xFFFFFFFFFEFFFFFF,
        fixmap_start=0xFFFFFFFFFF578000,
        fixmap_end=0xFFFFFFFFFF7FEFFF,
        phys_bits=46 if levels == 4 else 52,
        percpu_is_zero_based=True,
    )


def _i386(levels: int, vmalloc_end: int, phys_bits: int) -> Arch:
    """PAE's smaller tables leave pkmap half the size, so its vmalloc space ends higher."""
    return Arch(
        name="i386",
        page_table_levels=levels,
        word_bytes=4,
        base_register="fs",
        direct_map_addr=0xC0000000,
        direct_map_bytes_max=896 * MIB,
        image_map_addr=0xC0000000,
        vmalloc_start=0xC0000000 + 896 * MIB + 8 * MIB,
        vmalloc_end=vmalloc_end,
        modules_start=0xC0000000 + 896 * MIB + 8 * MIB,
        modules_end=vmalloc_end,
        fixmap_start=0xFFC00000,
        fixmap_end=0xFFFFEFFF,
        phys_bits=phys_bits,
        percpu_is_zero_based=False,
    )


ARCHES: Final = MappingProxyType(
    {
        ("x86-64", 4): _x86_64(
            4, 0xFFFF888000000000, 64 << 40, (0xFFFFC90000000000, 0xFFFFE8FFFFFFFFFF)
        ),
        ("x86-64", 5): _x86_64(
            5, 0xFF11000000000000, 32 << 50, (0xFFA0000000000000, 0xFFD1FFFFFFFFFFFF)
        ),
        ("i386", 2): _i386(2, 0xFF7FDFFF, 32),
        ("i386", 3): _i386(3, 0xFF9FDFFF, 36),
    }
)
"""By name and page-table levels; i386 with 3 levels is PAE."""
ARCH_NAMES: Final = ("x86-64", "i386")
DEFAULT_LEVELS: Final = MappingProxyType({"x86-64": 4, "i386": 3})
