from __future__ import annotations

from tui.debugger.session import Session
from tui.debugger.views.hexdump import hexdump_view


def test_hexdump_shows_question_marks_where_nothing_is_mapped(busy: Session) -> None:
    chunk = busy.machine.percpu.chunks[1]
    hole = chunk.base_addr + chunk.nr_populated * 4096
    table = hexdump_view(busy, hole - 2, 4)
    assert table.rows == ((hole - 2, "00 00 ?? ??", "...."),)
    assert table.notes == ("2 bytes are not mapped",)


def test_hexdump_shows_what_a_cpu_wrote_as_bytes_and_letters(session: Session, tell) -> None:
    tell("alloc 0 64", "write 1 0x37000 0x216948")
    start = session.machine.cpus[1].gs_base + 0x37000
    table = hexdump_view(session, start, 20)
    assert [row[0] for row in table.rows] == [start, start + 16]
    assert str(table.rows[0][1]).startswith("48 69 21 00") and str(table.rows[0][2])[:4] == "Hi!."
    assert table.rows[1][1] == "00 00 00 00" and table.notes == ()
