from __future__ import annotations

from pathlib import Path

from kernel_sim.mm.buddy import NR_ORDERS
from snapshots.opening import open_any
from tests.tui.debugger.views.conftest import column
from tui.debugger.session import Session
from tui.debugger.views.zones import zones_view


def test_zones_accounts_for_every_page(busy: Session) -> None:
    table = zones_view(busy)
    for row in table.rows:
        _, _, present, free, on_lists, reserved, allocated, *_ = row
        blocks = row[len(table.columns) - NR_ORDERS :]
        assert present == free + on_lists + reserved + allocated
        assert free == sum(count << order for order, count in enumerate(blocks))


def test_zones_notes_how_requests_of_each_node_were_met(busy: Session) -> None:
    notes = zones_view(busy).notes
    assert len(notes) == 3 and notes[2].startswith("page profile modern")
    for node, note in enumerate(notes[:2]):
        hits = busy.machine.pages.numa_hit[node]
        assert hits > 0 and note.startswith(f"node {node}: {hits} pages asked for here and given")


def test_zones_shows_the_marks_that_requests_stop_at(busy: Session) -> None:
    table = zones_view(busy)
    for zone, *marks in zip(
        busy.machine.pages.zones,
        *(column(table, name) for name in ("min", "low", "high")),
        strict=True,
    ):
        expected = busy.machine.pages.marks_of(zone)
        assert marks == [expected.min_pages, expected.low_pages, expected.high_pages]
        assert marks == sorted(marks) and marks[0] > 0


def test_zones_tells_that_requests_shall_fail(busy: Session, tell) -> None:
    tell("fail-pages 5", "fail page-alloc probability=3")
    notes = zones_view(busy).notes
    assert "5 more page requests may succeed, then they fail" in notes
    assert any(note.startswith("fault injection is on") for note in notes)


def test_plain_pages_have_neither_lists_nor_marks() -> None:
    session = Session(open_any(Path(__file__).parents[3] / "recordings" / "v1-small.kms").tree)
    session.go_now(session.end_step)
    table = zones_view(session)
    assert set(column(table, "on_lists")) == {0} and set(column(table, "min")) == {0}
    assert table.notes[-1] == "page profile plain: no lists of CPUs, no watermarks"
