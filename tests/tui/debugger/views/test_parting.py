"""Where two runs part, in words and as JSON."""

from __future__ import annotations

import json

from kernel_sim.events import EventAt, Printk
from kernel_sim.inputs import Input
from snapshots.diff.parting import EventApart, InputApart, Parting
from snapshots.diff.rows import DiffRow
from tui.debugger.views.parting import (
    event_text,
    input_text,
    parting_json,
    parting_lines,
    parting_view,
)

NAMES = ("a.kms", "b.kms")
GIVEN = Input(40, "pcpu_alloc", 1, (64, 8, False, 3264, "f+0x1"))
PRINTED = EventAt(44, 1, Printk(4, "percpu: limit"))
ROW = DiffRow("counters", "changed", "step", "", 1, 2)
FOUND = Parting(41, 40, "", InputApart(7, GIVEN, None), EventApart(9, None, PRINTED), (ROW,))


def test_it_says_where_and_what_came_first() -> None:
    assert parting_lines(FOUND, NAMES) == [
        "a.kms and b.kms part at step 41; step 40 is the last that is the same",
        "input 7: a.kms: step 40 cpu 1 pcpu_alloc 64 8 False 3264 f+0x1; b.kms: none",
        "event 9: a.kms: none; b.kms: step 44 cpu 1 console: <4>percpu: limit",
    ]


def test_runs_that_are_never_the_same_and_runs_that_end_are_told_so() -> None:
    never = FOUND._replace(step=0, same_step=None, input=None, event=None)
    assert parting_lines(never, NAMES) == ["a.kms and b.kms part at step 0, from the beginning"]
    ended = never._replace(step=5, same_step=4, ended="other", rows=())
    assert parting_lines(ended, NAMES) == ["b.kms ends at step 4; up to there a.kms is the same"]


def test_the_table_has_the_diff_and_the_lines_beneath() -> None:
    table = parting_view(FOUND, NAMES)
    assert table.rows == (tuple(ROW),)
    assert (
        table.title
        == "a.kms and b.kms part at step 41; step 40 is the last that is the same: 1 counter changed"
    )
    assert table.notes == tuple(parting_lines(FOUND, NAMES)[1:])


def test_json_has_numbers_and_texts() -> None:
    data = json.loads(json.dumps(parting_json(FOUND, NAMES)))
    assert (data["same"], data["step"], data["same_step"], data["ended"]) == (False, 41, 40, "")
    assert data["input"] == {
        "number": 7,
        "one": {"step": 40, "text": input_text(GIVEN)},
        "other": None,
    }
    assert data["event"]["other"] == {"step": 44, "text": event_text(PRINTED)}
    assert data["rows"][0]["what"] == "step"
    assert parting_json(None, NAMES) == {"same": True, "one": "a.kms", "other": "b.kms"}
    assert parting_json(FOUND._replace(event=None), NAMES)["event"] is None
