from __future__ import annotations

from tests.tui.debugger.views.conftest import column
from tui.debugger.session import Session
from tui.debugger.views.offsets import offsets_view


def test_every_chunk_has_a_column_and_every_cpu_the_same_distance_in_each(busy: Session) -> None:
    table = offsets_view(busy)
    names = ["the reserved chunk", "the first chunk", "chunk 1"]
    assert [each.name for each in table.columns][4:] == names
    distances = column(table, "unit_offset")
    for name, chunk in zip(names, busy.machine.percpu.chunks.values(), strict=True):
        starts = [at - chunk.base_addr for at in column(table, name) if isinstance(at, int)]
        assert starts == distances


def test_units_are_those_that_a_percpu_pointer_leads_to(busy: Session) -> None:
    bases = [cpu.gs_base for cpu in busy.machine.cpus.values()]
    start = busy.machine.percpu.base_addr
    assert [
        start + offset
        for offset in column(offsets_view(busy), "unit_offset")
        if isinstance(offset, int)
    ] == [start + base - bases[0] for base in bases]
    assert sorted(map(int, column(offsets_view(busy), "unit"))) == [0, 1, 2, 3]  # type: ignore[arg-type]
