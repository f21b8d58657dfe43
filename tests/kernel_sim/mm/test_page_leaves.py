"""Every leaf is listed once, and is what a walk of its address finds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.mm.page_leaves import leaves
from kernel_sim.mm.paging import PAGE_KERNEL
from kernel_sim.mm.paging_modes import MODES
from tests.kernel_sim.mm.table_pages import base_of, new_space
from tests.kernel_sim.whole_machines import KINDS, Whole

PAGE = 4096


@pytest.mark.parametrize("levels", list(MODES))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_leaves_are_what_was_mapped(levels: int, data: st.DataObject) -> None:
    space, base = new_space(levels), base_of(levels)
    large_shift = space.mode.levels[-2].shift
    mapped: dict[int, tuple[int, int]] = {}
    for page, pfn in data.draw(
        st.dictionaries(st.integers(0, 3000), st.integers(1, 60000), max_size=20)
    ).items():
        virt = base + page * PAGE
        assert space.map_page(virt=virt, pfn=pfn, flags=PAGE_KERNEL, node=0, cpu=0)
        mapped[virt] = 12, pfn
    for number in range(data.draw(st.integers(0, 3))):
        virt = base + (8 + number << large_shift)
        space.map_linear(
            virt=virt, phys=number << large_shift, nr_bytes=1 << large_shift, flags=PAGE_KERNEL
        )
        mapped[virt] = large_shift, number << large_shift - 12
    for virt in list(mapped)[::3]:
        if mapped[virt][0] == 12:
            space.unmap_page(virt)
            del mapped[virt]
    found = list(leaves(space))
    assert {leaf.virt: (leaf.shift, leaf.pfn) for leaf in found} == mapped
    assert len(found) == len(mapped)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_walk_of_a_leafs_address_ends_there(kind: str) -> None:
    whole = Whole(kind)
    whole.load("counter")
    space = whole.machine.space
    found = list(leaves(space))
    assert any(leaf.shift > 12 for leaf in found) and any(leaf.shift == 12 for leaf in found)
    for leaf in found:
        last = leaf.virt + (1 << leaf.shift) - 1
        assert space.translate(leaf.virt) == leaf.pfn << 12
        assert space.translate(last) == (leaf.pfn << 12) + (1 << leaf.shift) - 1
        assert space.read_entry(space.find_translation(leaf.virt).entry_phys) == leaf.entry
    assert len({leaf.virt: None for leaf in found}) == len(found)


def test_an_empty_space_has_none() -> None:
    assert list(leaves(new_space(4))) == []
