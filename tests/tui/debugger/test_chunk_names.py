from __future__ import annotations

import pytest

from tui.debugger.chunk_names import chunk_by_text, slot_name
from tui.debugger.errors import CommandError
from tui.debugger.session import Session


def test_a_list_is_named_by_exactly_the_hints_that_lead_to_it(session: Session) -> None:
    slots = session.machine.percpu.slots
    for size_bytes in range(4, 1 << 14, 4):
        low, _, high = slot_name(slots, slots.of_size(size_bytes)).partition("-")
        assert int(low) <= size_bytes <= int(high)


def test_lists_with_a_purpose_are_named_by_it(session: Session) -> None:
    slots = session.machine.percpu.slots
    special = (-1, 0, slots.sidelined, slots.free, slots.to_depopulate)
    names = ["none", "full", "sidelined", "free", "to_depopulate"]
    assert [slot_name(slots, slot) for slot in special] == names


@pytest.mark.parametrize(("text", "number"), [("first", 0), ("reserved", -1), ("-1", -1), ("0", 0)])
def test_chunks_can_be_typed_by_number_and_by_name(
    session: Session, text: str, number: int
) -> None:
    assert chunk_by_text(session.machine, text).number == number


@pytest.mark.parametrize("text", ["7", "x", "", "--1", "٣", "9" * 50])
def test_a_chunk_that_is_not_there_is_refused(session: Session, text: str) -> None:
    with pytest.raises(CommandError, match="chunk"):
        chunk_by_text(session.machine, text)
