from __future__ import annotations

from tui.debugger.session import Session
from tui.debugger.views.run import run_view


def test_run_counts_what_is_in_the_run(busy: Session) -> None:
    facts = dict(run_view(busy).rows)
    assert facts["inputs"] == busy.timeline.nr_inputs and facts["chunks created"] == 1


def test_run_tells_where_a_replayed_run_came_from(busy: Session) -> None:
    names = [row[0] for row in run_view(busy).rows]
    assert "source" not in names and "divergences" not in names
    busy.origin.source, busy.origin.mode = "trace.txt", "log"
    busy.origin.divergences = [[1, 2, "kind", "a", "b", "c"]]
    busy.origin.counts = {"lines_read": 7}
    facts = dict(run_view(busy).rows)
    assert (facts["source"], facts["divergences"], facts["lines read"]) == ("trace.txt", 1, 7)
