"""Where two runs part, as people read it: the step, the first input and event that differ, the diff.

a.kms and b.kms part at step 41; step 40 is the last that is the same
input 7   a.kms: step 40 cpu 0 pcpu_alloc 64 8 False 3264 f    b.kms: none
event 9   a.kms: step 44 cpu 0 percpu_alloc_percpu …           b.kms: none
"""

from __future__ import annotations

from kernel_sim.events import EVENT_NAMES, EventAt
from kernel_sim.inputs import Input
from snapshots.diff.parting import Parting
from snapshots.diff.state_diff import summary_of
from tui.debugger.event_text import argument_text, event_fields
from tui.debugger.table import Table
from tui.debugger.views.diff import diff_view

Names = tuple[str, str]
NONE = "none"


def parting_view(found: Parting, names: Names, rows_max: int | None = None) -> Table:
    """Return the structural diff where two runs part; the notes say what led to it."""
    title, *notes = parting_lines(found, names)
    table = diff_view(found.rows, title, rows_max)
    return Table(table.title, table.columns, table.rows, (*notes, *table.notes))


def parting_lines(found: Parting, names: Names) -> list[str]:
    """Return a line on the step, and one each on the first input and event that differ."""
    one, other = names
    if found.ended:
        ended, rest = names if found.ended == "one" else names[::-1]
        lines = [f"{ended} ends at step {found.same_step}; up to there {rest} is the same"]
    else:
        lines = [f"{one} and {other} part at step {found.step}"]
        same = f"; step {found.same_step} is the last that is the same"
        lines[0] += ", from the beginning" if found.same_step is None else same
    if found.input is not None:
        texts = input_text(found.input.one), input_text(found.input.other)
        lines.append(f"input {found.input.number}: {one}: {texts[0]}; {other}: {texts[1]}")
    if found.event is not None:
        texts = event_text(found.event.one), event_text(found.event.other)
        lines.append(f"event {found.event.number}: {one}: {texts[0]}; {other}: {texts[1]}")
    return lines


def input_text(given: Input | None) -> str:
    """Return an input with its arguments on one line."""
    if given is None:
        return NONE
    arguments = "".join(f" {argument_text(arg)}" for arg in given.args)
    return f"step {given.step} cpu {given.cpu} {given.do}{arguments}"


def event_text(at: EventAt | None) -> str:
    """Return an event with its fields on one line."""
    if at is None:
        return NONE
    return f"step {at.step} cpu {at.cpu} {EVENT_NAMES[type(at.event)]}: {event_fields(at.event)}"


def parting_json(found: Parting | None, names: Names) -> dict[str, object]:
    """Return it as builtin types; with nothing in it but the names if the runs are the same."""
    if found is None:
        return {"same": True, "one": names[0], "other": names[1]}
    table = diff_view(found.rows, "")
    return {
        "same": False,
        "one": names[0],
        "other": names[1],
        "step": found.step,
        "same_step": found.same_step,
        "ended": found.ended,
        "input": _pair(found.input, input_text),
        "event": _pair(found.event, event_text),
        "summary": summary_of(found.rows),
        "rows": table.to_json()["rows"],
    }


def _pair(apart, text) -> dict[str, object] | None:  # type: ignore[no-untyped-def]
    """Return number and both values of what differs first."""
    if apart is None:
        return None
    return {
        "number": apart.number,
        "one": None if apart.one is None else {"step": apart.one.step, "text": text(apart.one)},
        "other": None
        if apart.other is None
        else {"step": apart.other.step, "text": text(apart.other)},
    }
