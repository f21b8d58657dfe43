from __future__ import annotations

import pytest

from tests.tui.debugger.views.conftest import column
from tui.debugger.errors import CommandError
from tui.debugger.session import Session
from tui.debugger.views.blocks import blocks_view


def test_blocks_begins_with_the_hints_of_the_whole_chunk(busy: Session) -> None:
    chunk = busy.machine.percpu.chunks[1]
    table = blocks_view(busy, 1)
    assert table.rows[0][:8] == ("chunk_md", *chunk.md.row())
    assert len(table.rows) == 1 + chunk.nr_pages
    assert sum(bool(cell) for cell in column(table, "populated")) == chunk.nr_populated


def test_blocks_of_a_chunk_that_is_not_there_are_refused(session: Session) -> None:
    with pytest.raises(CommandError, match="there is no chunk 1 at step 0"):
        blocks_view(session, 1)
