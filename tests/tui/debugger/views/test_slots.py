from __future__ import annotations

from tests.tui.debugger.views.conftest import column
from tui.debugger.session import Session
from tui.debugger.views.slots import slots_view


def test_slots_lists_every_chunk_but_the_reserved_one_once(busy: Session) -> None:
    listed = " ".join(column(slots_view(busy), "chunks")).split()
    assert sorted(map(int, listed)) == [
        number for number in busy.machine.percpu.chunks if number >= 0
    ]


def test_a_slot_tells_its_chunks_from_the_head_of_the_list_on(busy: Session) -> None:
    table = slots_view(busy)
    assert column(table, "slot") == list(range(len(busy.machine.percpu.slots.lists)))
    for count, chunks in zip(column(table, "nr_chunks"), column(table, "chunks"), strict=True):
        assert count == len(chunks.split())
    slots = busy.machine.percpu.slots
    slots.move(busy.machine.percpu.chunks[0], 1, to_front=False)
    slots.move(busy.machine.percpu.chunks[1], 1, to_front=True)
    assert column(slots_view(busy), "chunks")[1] == "1 0"
