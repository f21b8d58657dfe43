from __future__ import annotations

from tests.tui.debugger.views.conftest import column
from tui.debugger.session import Session
from tui.debugger.views.chunks import chunks_view


def test_chunks_shows_the_boot_chunks_first_and_where_each_is_listed(busy: Session) -> None:
    table = chunks_view(busy)
    assert column(table, "role") == ["reserved", "first", "dynamic"]
    lists = busy.machine.percpu.slots.lists
    for number, slot, place in zip(
        column(table, "chunk"), column(table, "slot"), column(table, "place"), strict=True
    ):
        assert (slot, place) == (-1, None) or lists[slot][place].number == number


def test_a_chunk_is_shown_on_the_list_that_it_was_moved_to(busy: Session) -> None:
    percpu = busy.machine.percpu
    before = chunks_view(busy)
    percpu.slots.move(percpu.chunks[1], percpu.slots.sidelined, to_front=False)
    after = chunks_view(busy)
    number = column(after, "chunk").index(1)
    assert column(before, "list")[number] != "sidelined"
    assert column(after, "list")[number] == "sidelined"
    assert column(after, "free_bytes")[number] == percpu.chunks[1].free_bytes
