"""A recording as JSON lines: one object a line, for programs that know no msgpack.

    {"record": "header",   "machine": {…}, "origin": {…}, "first_step": 0, "end_step": 394, …}
    {"record": "keyframe", "number": 0, "step": 0, "digest": "…", "parts": 31}
    {"record": "input",    "number": 0, "step": 0, "do": "pcpu_alloc", "cpu": 0, "args": […], …}
    {"record": "event",    "number": 0, "step": 4, "cpu": 0, "name": "percpu_alloc_percpu", "fields": {…}}
    {"record": "end",      "step": 394, "inputs": 53, "events": 102, "keyframes": 1}

Lines stand in the order of their steps; at one step events come before the keyframe taken there, and that
before the inputs given there. Nothing is run for it: it tells what the recording says. Bytes among the
arguments are {"base64": "…"}; whole numbers have up to 64 bits, more than a JavaScript number holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from kernel_sim.events import EVENT_NAMES, EventAt
from snapshots.export.trace_comments import input_row
from snapshots.recording import SCHEMA, Origin
from snapshots.segment import SegmentBody
from snapshots.state_codec import PartHashes, digest_of
from snapshots.timeline import Timeline

INPUT_FIELDS = ("step", "do", "cpu", "args", "line", "by")
Progress = Callable[[int, int], None]


def json_lines(
    timeline: Timeline, origin: Origin, progress: Progress | None = None
) -> Iterator[str]:
    """Yield the recording line by line. Raises: RecordingError for a segment that cannot be read."""
    yield _line(
        record="header", format="kmemscope json 1", schema=SCHEMA,
        machine=timeline.machine.config.to_mapping(), origin=origin.to_body(),
        first_step=timeline.first_step, end_step=timeline.end_step,
        inputs=timeline.nr_inputs, events=timeline.nr_events,
    )  # fmt: skip
    hashes = PartHashes()
    nr_inputs = nr_events = 0
    for number, head in enumerate(timeline.heads):
        parts = timeline.keyframe_parts(number)
        digest = digest_of(hashes.of(parts))
        yield _line(
            record="keyframe", number=number, step=head.first_step, digest=digest, parts=len(parts)
        )
        body = timeline.body(number)
        yield from _body_lines(body, nr_inputs, nr_events)
        nr_inputs += len(body.inputs)
        nr_events += len(body.events)
        if progress is not None:
            progress(head.first_step, timeline.end_step)
    yield _line(
        record="end", step=timeline.end_step, inputs=nr_inputs, events=nr_events,
        keyframes=len(timeline.heads),
    )  # fmt: skip


def _body_lines(body: SegmentBody, nr_inputs: int, nr_events: int) -> Iterator[str]:
    """Yield inputs and events in the order of their steps; an input at a step comes after its events."""
    waiting = iter(enumerate(body.events, nr_events))
    event = next(waiting, None)
    for number, given in enumerate(body.inputs, nr_inputs):
        while event is not None and event[1].step <= given.step:
            yield _event_line(*event)
            event = next(waiting, None)
        row = dict(zip(INPUT_FIELDS, input_row(given), strict=True))
        yield _line(record="input", number=number, **row)
    while event is not None:
        yield _event_line(*event)
        event = next(waiting, None)


def _event_line(number: int, at: EventAt) -> str:
    fields = at.event._asdict()
    name = EVENT_NAMES[type(at.event)]
    return _line(record="event", number=number, step=at.step, cpu=at.cpu, name=name, fields=fields)


def _line(**values: object) -> str:
    return json.dumps(values) + "\n"
