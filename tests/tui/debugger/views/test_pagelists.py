from __future__ import annotations

from pathlib import Path

from snapshots.opening import open_any
from tests.tui.debugger.views.conftest import column
from tui.debugger.session import Session
from tui.debugger.views.pagelists import pagelists_view


def test_a_list_has_a_row_once_its_cpu_asked_the_zone(session: Session, tell) -> None:
    assert pagelists_view(session).rows == ()
    tell("pages 0 cpu=2")
    table = pagelists_view(session)
    assert [column(table, name)[0] for name in ("node", "cpu", "list")] == [1, 2, "all"]
    zone = next(zone for zone in session.machine.pages.zones if zone.nr_list_pages)
    assert zone.lists is not None
    assert column(table, "count") == [zone.nr_list_pages]
    assert column(table, "count")[0] < column(table, "batch")[0] <= column(table, "high")[0]


def test_the_next_page_is_the_one_that_the_cpu_gets(session: Session, tell) -> None:
    tell("pages 0 cpu=1")
    next_pfn = column(pagelists_view(session), "next_pfn")[0]
    assert tell("pages 0 cpu=1").lines[0].startswith(f"pfn {next_pfn:#x} ")


def test_2_6_20_has_a_hot_and_a_cold_list(boot_example) -> None:
    session = boot_example("i386-highmem")
    session.timeline.give("alloc_pages", 0, (0, 0xCC0, -1))
    session.timeline.advance(1 << 62)
    assert column(pagelists_view(session), "list") == ["hot", "cold"]


def test_plain_pages_have_no_lists() -> None:
    session = Session(open_any(Path(__file__).parents[3] / "recordings" / "v1-small.kms").tree)
    assert pagelists_view(session).notes == ("the page profile is plain: no lists",)
