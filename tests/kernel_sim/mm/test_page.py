"""What a page is."""

from __future__ import annotations

from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES


def test_a_page_is_the_4_kib_of_x86() -> None:
    assert PAGE_SIZE_BYTES == 1 << PAGE_SHIFT == 4096
