from __future__ import annotations

import pytest

from kernel_sim.mm.phys_range import PhysRange


@pytest.mark.parametrize(
    ("memory", "pages"),
    [
        (PhysRange(0, 0x9FBFF), (0, 0x9F)),
        (PhysRange(0x100000, 0x3FFFFFFF), (0x100, 0x40000)),
        (PhysRange(1, 0x2FFF), (1, 3)),
    ],
)
def test_only_whole_pages_count(memory: PhysRange, pages: tuple[int, int]) -> None:
    assert (memory.first_pfn, memory.end_pfn) == pages
    assert memory.nr_pages == pages[1] - pages[0]


def test_a_range_inside_a_page_has_no_page() -> None:
    assert PhysRange(1, 0xFFE).nr_pages == 0


def test_ranges_overlap_from_the_first_shared_byte() -> None:
    assert PhysRange(0, 10).overlaps(PhysRange(10, 20))
    assert PhysRange(10, 20).overlaps(PhysRange(0, 10))
    assert not PhysRange(0, 9).overlaps(PhysRange(10, 20))


def test_a_range_contains_what_ends_with_its_last_byte() -> None:
    memory = PhysRange(0x1000, 0x1FFF)
    assert memory.contains(addr=0x1000, size_bytes=0x1000)
    assert not memory.contains(addr=0x1001, size_bytes=0x1000)
    assert not memory.contains(addr=0xFFF, size_bytes=2)


def test_a_range_is_written_as_firmware_writes_it() -> None:
    assert str(PhysRange(0x100000, 0x3FFFFFFF)) == "0x100000-0x3fffffff"
