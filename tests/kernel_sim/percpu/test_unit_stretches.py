from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.percpu.stretch import DYNAMIC, FREE, HOLE, Stretch
from kernel_sim.percpu.unit_stretches import UnitArea, unit_stretches

UNIT = Stretch("unit of cpu 1", 0x100000, 4 * 4096, DYNAMIC, "", 1, node=2, owns_pages=True)


@st.composite
def layouts(draw: st.DrawFn) -> list[UnitArea]:
    cuts = sorted(draw(st.lists(st.integers(0, 4 * 4096), max_size=12, unique=True)))
    pairs = zip(cuts[::2], cuts[1::2], strict=False)
    return [UnitArea(low, high - low, DYNAMIC, "area", low + 1) for low, high in pairs]


@given(layouts(), st.integers(0, 15))
def test_a_unit_is_covered_without_gap_and_each_byte_says_what_it_is(
    areas: list[UnitArea], populated: int
) -> None:
    at = UNIT.addr
    for stretch in unit_stretches(UNIT, areas, populated):
        assert stretch.addr == at and stretch.size_bytes > 0
        assert (stretch.strip, stretch.cpu, stretch.node) == ("unit of cpu 1", 1, 2)
        if stretch.kind != DYNAMIC:
            pages = range(stretch.addr - UNIT.addr >> 12, (stretch.end - 1 - UNIT.addr >> 12) + 1)
            wanted = FREE if stretch.kind == FREE else HOLE
            assert all((FREE if populated >> page & 1 else HOLE) == wanted for page in pages)
            assert stretch.ptr == 0
        at = stretch.end
    assert at == UNIT.end


def test_a_part_of_a_unit_may_be_left_to_others() -> None:
    found = list(unit_stretches(UNIT, [], -1, first_offset_bytes=4096))
    assert [(each.addr, each.size_bytes) for each in found] == [(0x101000, 3 * 4096)]
