"""JSON lines hold all that a recording says."""

from __future__ import annotations

import base64
import json

from hypothesis import given, settings

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.events import EVENT_NAMES
from snapshots.export.json_export import json_lines
from snapshots.export.trace_comments import input_from_row
from snapshots.recording import SCHEMA, Origin
from snapshots.state_codec import state_digest
from snapshots.timeline import Timeline
from tests.snapshots.conftest import (
    CONFIGS,
    SCHEDULES,
    Action,
    events_of,
    inputs_of,
    recorded,
    short_segments,
    small_config,
)

Row = dict[str, object]
RANKS = ("event", "keyframe", "input", "end")  # at one step


def rows_of(timeline: Timeline) -> list[Row]:
    return [json.loads(line) for line in json_lines(timeline, Origin(source="x"))]


@settings(max_examples=25, deadline=None)
@given(CONFIGS, SCHEDULES)
def test_every_input_event_and_keyframe_is_told_in_the_order_of_steps(
    config: MachineConfig, actions: list[Action]
) -> None:
    with short_segments(4):
        timeline = recorded(config, actions)
        rows = rows_of(timeline)
        by_kind = {kind: [row for row in rows if row["record"] == kind] for kind in
                   ("input", "event", "keyframe")}  # fmt: skip
        told = [
            input_from_row([row[name] for name in ("step", "do", "cpu", "args", "line", "by")])
            for row in by_kind["input"]
        ]
        assert told == inputs_of(timeline)
        assert [row["number"] for row in by_kind["input"]] == list(range(timeline.nr_inputs))
        assert [(row["step"], row["cpu"], row["name"], row["fields"]) for row in by_kind["event"]] == [
            (at.step, at.cpu, EVENT_NAMES[type(at.event)], at.event._asdict())
            for at in events_of(timeline)
        ]  # fmt: skip
        for row in by_kind["keyframe"]:
            timeline.seek(int(str(row["step"])))
            assert row["digest"] == state_digest(timeline.machine)
        places = [(int(str(row["step"])), RANKS.index(str(row["record"]))) for row in rows[1:]]
        assert places == sorted(places)


def test_the_first_and_the_last_line() -> None:
    timeline = recorded(small_config(), [("alloc", 1, 24, 8, 0xCC0), ("drain",)])
    header, *_, end = rows_of(timeline)
    assert (header["record"], header["format"], header["schema"]) == (
        "header", "kmemscope json 1", SCHEMA,
    )  # fmt: skip
    assert MachineConfig.from_mapping(header["machine"], where="x") == timeline.machine.config  # type: ignore[arg-type]
    assert header["origin"] == Origin(source="x").to_body()
    assert end == {"record": "end", "step": 4, "inputs": 1, "events": 1, "keyframes": 1}


def test_bytes_are_base64_and_progress_is_told() -> None:
    timeline = Timeline(boot(small_config()))
    timeline.give("load_module", 0, (b"\x00\xff", "m", ""))
    told: list[tuple[int, int]] = []
    lines = list(json_lines(timeline, Origin(), lambda here, goal: told.append((here, goal))))
    [row] = [json.loads(line) for line in lines if '"input"' in line and '"do"' in line]
    assert base64.b64decode(row["args"][0]["base64"]) == b"\x00\xff"
    assert told == [(0, 0)]
