from __future__ import annotations

import pytest

from kernel_sim.errors import InvariantBroken
from kernel_sim.percpu.owned_page import OwnedPage, pages_of_stretches
from kernel_sim.percpu.stretch import DYNAMIC, FREE, HOLE, Stretch

MAPPED = {0x10000: 0x5000, 0x11000: 0x9000}


def translate(virt: int) -> int | None:
    return MAPPED.get(virt)


def own(addr: int, size_bytes: int, kind: str = DYNAMIC) -> Stretch:
    return Stretch("unit", addr, size_bytes, kind, "", owns_pages=True)


def test_every_page_comes_once_however_many_stretches_share_it() -> None:
    parts = [own(0x10000, 0x10), own(0x10010, 0xFF0, FREE), own(0x11000, 0x1000)]
    assert list(pages_of_stretches(parts, translate)) == [
        OwnedPage(5, 0x10000, "unit"), OwnedPage(9, 0x11000, "unit")
    ]  # fmt: skip


def test_what_is_not_the_systems_own_is_passed_over() -> None:
    assert not list(pages_of_stretches([Stretch("slab", 0x10000, 64, DYNAMIC, "")], translate))


def test_a_missing_page_and_a_hole_with_one_are_found() -> None:
    with pytest.raises(InvariantBroken, match="0x12000 is dynamic, and is not mapped"):
        list(pages_of_stretches([own(0x12000, 8)], translate))
    with pytest.raises(InvariantBroken, match="0x11000 is hole, and maps page 0x9"):
        list(pages_of_stretches([own(0x11000, 0x1000, HOLE)], translate))
