"""The sizes of a block: the mail's 9 and 36, and the whole table of what follows for other builds."""

from __future__ import annotations

import pytest

from kernel_sim.percpu.block_geometry import BLOCK_BYTES, BlockGeometry

NR_CPUS_OF_TABLE = (8, 64, 128, 255, 512)
TABLE = {
    (4, 4): (9, 9, 9, 10, 11),
    (8, 4): (15, 15, 16, 17, 19),
    (8, 8): (8, 8, 9, 10, 12),
}


@pytest.mark.parametrize(("build", "nr_pages"), TABLE.items())
@pytest.mark.parametrize("as_posted", [False, True])
def test_management_pages_are_those_of_the_table(
    build: tuple[int, int], nr_pages: tuple[int, ...], as_posted: bool
) -> None:
    word_bytes, currency_bytes = build
    found = tuple(
        BlockGeometry(word_bytes, nr_cpus, currency_bytes, as_posted=as_posted).nr_management_pages
        for nr_cpus in NR_CPUS_OF_TABLE
    )
    assert found == nr_pages


def test_the_mails_nine_pages_and_36_bytes_are_those_of_i386() -> None:
    i386 = BlockGeometry(word_bytes=4, nr_cpus=8, as_posted=True)
    assert (i386.nr_management_pages, i386.stack_bytes) == (9, 36)
    assert i386.descriptor_bytes == 8468 + 16 * 8
    assert i386.management_bytes == 33172
    assert BlockGeometry(word_bytes=8, nr_cpus=8, currency_bytes=8).stack_bytes == 64
    assert BlockGeometry(word_bytes=4, nr_cpus=512).stack_bytes == 44


def test_nine_pages_hold_up_to_238_cpus_on_i386() -> None:
    found = [BlockGeometry(4, nr_cpus).nr_management_pages for nr_cpus in (238, 239, 494, 495)]
    assert found == [9, 10, 10, 11]


@pytest.mark.parametrize("nr_cpus", [1, 8, 512, 8192])
def test_in_mail_mode_nothing_depends_on_nr_cpus(nr_cpus: int) -> None:
    geometry = BlockGeometry(4, nr_cpus, mail_mode=True)
    assert (geometry.management_bytes, geometry.nr_management_pages) == (33044, 9)


@pytest.mark.parametrize(("nr_cpus", "nr_area_pages"), [(8, 26), (512, 1036)])
def test_address_space_of_a_block(nr_cpus: int, nr_area_pages: int) -> None:
    geometry = BlockGeometry(4, nr_cpus)
    assert geometry.nr_area_pages == nr_area_pages
    assert geometry.management_offset == nr_cpus * BLOCK_BYTES


def test_two_cpus_cost_more_management_than_data() -> None:
    assert BlockGeometry(4, 8).nr_backed_pages(2) == 13


def test_the_posted_array_is_too_short_for_few_cpus_and_ours_is_not() -> None:
    for nr_cpus in range(1, 12):
        for word_bytes in (4, 8):
            posted = BlockGeometry(word_bytes, nr_cpus, as_posted=True)
            ours = BlockGeometry(word_bytes, nr_cpus)
            needed = ours.nr_cpu_pages + ours.nr_management_pages
            assert ours.nr_page_pointers >= needed
            assert ours.nr_management_pages == posted.nr_management_pages
            too_short = posted.nr_page_pointers < posted.nr_cpu_pages + posted.nr_management_pages
            assert too_short == (nr_cpus < (5 if word_bytes == 4 else 8))
            if not too_short:
                assert ours.descriptor_bytes == posted.descriptor_bytes


def test_the_fields_lie_end_to_end() -> None:
    geometry = BlockGeometry(8, 8)
    assert geometry.pages_offset == 8
    assert geometry.list_offset == 8 + 8 * 32
    assert geometry.bitmap_offset == geometry.list_offset + 16
    assert geometry.free_list_offset == geometry.bitmap_offset + 256
    assert geometry.size_used_offset + 4 == geometry.descriptor_bytes
    assert geometry.buf_ctl_offset(0) == geometry.descriptor_bytes
    assert geometry.buf_ctl_offset(geometry.nr_objects) == geometry.management_bytes
