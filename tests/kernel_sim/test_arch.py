"""The address ranges of each architecture: where the kernel's headers put them, and apart from each other."""

from __future__ import annotations

import pytest

from kernel_sim.arch import ARCH_NAMES, ARCHES, DEFAULT_LEVELS, MIB, Arch
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.mm.paging_modes import MODES

EVERY = pytest.mark.parametrize("arch", ARCHES.values(), ids=[f"{n}-{v}" for n, v in ARCHES])


def test_every_name_has_its_usual_depth() -> None:
    assert list(dict.fromkeys(name for name, _ in ARCHES)) == list(ARCH_NAMES)
    assert all((name, DEFAULT_LEVELS[name]) in ARCHES for name in ARCH_NAMES)
    for (name, levels), arch in ARCHES.items():
        assert (arch.name, arch.page_table_levels) == (name, levels)
        assert MODES[levels].arch == name


def test_addresses_are_those_of_the_kernels_documents() -> None:
    """Documentation/x86/x86_64/mm.rst; pgtable_32_areas.h with one page of fixmap left out at the top."""
    four, five = ARCHES["x86-64", 4], ARCHES["x86-64", 5]
    assert (four.direct_map_addr, five.direct_map_addr) == (0xFFFF888000000000, 0xFF11000000000000)
    assert (four.vmalloc_start, four.vmalloc_end + 1) == (0xFFFFC90000000000, 0xFFFFE90000000000)
    assert (five.vmalloc_start, five.vmalloc_end + 1) == (0xFFA0000000000000, 0xFFD2000000000000)
    assert four.modules_start == five.modules_start == 0xFFFFFFFFC0000000
    assert four.modules_end + 1 == 0xFFFFFFFFFF000000
    for levels in (2, 3):
        assert ARCHES["i386", levels].direct_map_addr == 0xC0000000
        assert ARCHES["i386", levels].vmalloc_start == 0xC0000000 + (896 + 8) * MIB


@EVERY
def test_ranges_lie_in_order_and_apart(arch: Arch) -> None:
    bounds = [arch.direct_map_addr, arch.direct_map_addr + arch.direct_map_bytes_max - 1]
    bounds += [arch.vmalloc_start, arch.vmalloc_end]
    if arch.is_64bit:
        bounds += [arch.modules_start, arch.modules_end]
    bounds += [arch.fixmap_start, arch.fixmap_end]
    assert bounds == sorted(bounds)
    assert bounds[-1] <= arch.address_mask
    assert len(dict.fromkeys(bounds)) == len(bounds)


@EVERY
def test_every_range_is_of_whole_pages(arch: Arch) -> None:
    for name in (
        "direct_map_addr",
        "vmalloc_start",
        "modules_start",
        "fixmap_start",
        "image_map_addr",
    ):
        assert getattr(arch, name) % PAGE_SIZE_BYTES == 0
    for name in ("vmalloc_end", "modules_end", "fixmap_end"):
        assert (getattr(arch, name) + 1) % PAGE_SIZE_BYTES == 0


@EVERY
def test_an_address_fits_a_word_and_memory_fits_the_entries(arch: Arch) -> None:
    assert arch.address_mask == (1 << 8 * arch.word_bytes) - 1
    assert arch.is_64bit == (arch.name == "x86-64")
    assert MODES[arch.page_table_levels].pfn_mask >> arch.phys_bits - 1 & 1
    assert arch.base_register == ("gs" if arch.is_64bit else "fs")
    assert arch.percpu_is_zero_based == arch.is_64bit


def test_on_i386_modules_live_in_vmalloc_space() -> None:
    for levels in (2, 3):
        arch = ARCHES["i386", levels]
        assert (arch.modules_start, arch.modules_end) == (arch.vmalloc_start, arch.vmalloc_end)
        assert arch.image_map_addr == arch.direct_map_addr
