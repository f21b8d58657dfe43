from __future__ import annotations

import pytest

from tests.tui.debugger.views.conftest import column
from tui.debugger.errors import CommandError
from tui.debugger.session import Session
from tui.debugger.views.areas import areas_view


def test_areas_names_who_made_each(busy: Session) -> None:
    table = areas_view(busy, 0)
    chunk = busy.machine.percpu.chunks[0]
    assert column(table, "offset") == [bit * 4 for bit, _ in chunk.areas()]
    assert set(column(table, "call_site")) == {"kmemscope"}
    with pytest.raises(CommandError, match="there are: -1 0 1"):
        areas_view(busy, 5)


def test_an_area_under_way_is_told_from_one_of_before_the_record(session: Session, tell) -> None:
    tell("alloc 0 64 later")
    for _ in range(50):
        if not session.machine.percpu.chunks[0].nr_alloc:
            tell("step")
    table = areas_view(session, 0)
    assert column(table, "call_site") == ["being allocated: its call has not ended"]
    assert column(table, "born_step") == [None]
    tell("run")
    assert column(areas_view(session, 0), "call_site") == ["kmemscope"]
