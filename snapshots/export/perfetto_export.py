"""A run as a trace for Perfetto and chrome://tracing: CPUs as tracks, calls as slices, events as instants.

    process  the machine      counters  free bytes of chunks, chunks, free pages
      CPU 0  ▐ pcpu_alloc ▐▌pcpu_create_chunk▐▐      ↑ percpu_create_chunk
      CPU 1      ▐ free_percpu ▐                       ↑ percpu_free_percpu

One step is one microsecond, so a time on the ruler is a position. A slice is a call from the step at which
its CPU took it up to the step at which it was done; the kernel functions that it was seen in lie inside.
One that is not done at the end of the run ends there. An interrupt lies within what it interrupted.

The form is the object form of the "Trace Event Format": phases M (names), X (slices), i (instants) and
C (counters). It is written as it is made; nothing but the calls under way is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from kernel_sim.call import Arg, Call
from kernel_sim.events import EVENT_NAMES, EventAt
from kernel_sim.machine import Machine
from snapshots.export.trace_text import POINTERS
from snapshots.recording import Origin
from snapshots.rerun import Beat, Rerun
from snapshots.timeline import Timeline

PID = 1  # of the one process, the machine
FIRST_TID = 1  # of CPU 0: to a viewer thread 0 is the idle task of another process
BREATH_STEPS = 2000
COUNTERS_EVERY_STEPS = 16  # so close together at most
TEXT_CHARS_MAX = 200
EXACT_MAX = 1 << 53  # a viewer reads numbers as doubles
Progress = Callable[[int, int], None]


def perfetto_pieces(
    timeline: Timeline, origin: Origin, progress: Progress | None = None
) -> Iterator[str]:
    """Yield the trace's text piece by piece; now and then an empty one, to breathe.

    The run is made again for it from its first keyframe, beside the time line, which is not moved.
    Raises: RecordingError if it does not come to its end.
    """
    rerun = Rerun(timeline)
    machine = rerun.machine
    yield '{"displayTimeUnit": "ms", "otherData": '
    yield json.dumps(_facts(timeline, origin)) + ', "traceEvents": [\n'
    yield json.dumps(_named("process_name", 0, machine.config.name))
    for cpu in machine.cpus:
        yield ",\n" + json.dumps(_named("thread_name", cpu, f"CPU {cpu}"))
        yield ",\n" + json.dumps(_meta("thread_sort_index", cpu, {"sort_index": cpu}))
    slices = _Slices(rerun)
    counters = _Counters(machine)
    yield from map(_piece, counters.now(force=True))
    for beat in rerun.beats():
        yield from map(_piece, slices.of(beat))
        yield from map(_piece, map(_instant, beat.events))
        if beat.events:
            yield from map(_piece, counters.now())
        if beat.step % BREATH_STEPS == 0:
            if progress is not None:
                progress(beat.step, timeline.end_step)
            yield ""
    yield from map(_piece, slices.rest())
    yield from map(_piece, counters.now(force=True))
    yield "\n]}\n"


def _piece(row: dict[str, object]) -> str:
    return ",\n" + json.dumps(row)


def _facts(timeline: Timeline, origin: Origin) -> dict[str, object]:
    return {
        "program": "kmemscope", "machine": timeline.machine.config.name, "origin": origin.kind,
        "source": origin.source, "first_step": timeline.first_step,
        "end_step": timeline.end_step, "unit": "1 us is 1 step",
    }  # fmt: skip


def _named(what: str, cpu: int, name: str) -> dict[str, object]:
    return _meta(what, cpu, {"name": name})


def _meta(what: str, cpu: int, args: dict[str, object]) -> dict[str, object]:
    return {"ph": "M", "name": what, "pid": PID, "tid": FIRST_TID + cpu, "args": args}


def _instant(at: EventAt) -> dict[str, object]:
    args = {name: _shown(name, value) for name, value in at.event._asdict().items()}
    return {
        "ph": "i", "name": EVENT_NAMES[type(at.event)], "cat": "event", "ts": at.step,
        "pid": PID, "tid": FIRST_TID + at.cpu, "s": "t", "args": args,
    }  # fmt: skip


def _slice(name: str, category: str, begin: int, end: int, cpu: int) -> dict[str, object]:
    return {
        "ph": "X", "name": name, "cat": category, "ts": begin, "dur": end - begin,
        "pid": PID, "tid": FIRST_TID + cpu,
    }  # fmt: skip


def _shown(name: str, value: Arg) -> object:
    """Return a value as a viewer can show it: addresses in hex, files as their length."""
    if isinstance(value, bytes):
        return f"[{len(value)} bytes]"
    if isinstance(value, str):
        return value[:TEXT_CHARS_MAX]
    if isinstance(value, bool):
        return value
    return f"{value:#x}" if name in POINTERS or abs(value) >= EXACT_MAX else value


class _Slices:
    """The calls under way, and the kernel functions they were last seen in."""

    def __init__(self, rerun: Rerun) -> None:
        self.rerun = rerun
        self.begun: dict[int, tuple[Call, int, dict[str, object]]] = {}
        self.frames: dict[int, list[tuple[str, int]]] = {}  # of a call: functions, outermost first

    def of(self, beat: Beat) -> Iterator[dict[str, object]]:
        """Yield the slices that ended with a step."""
        for step, call in beat.began:
            self.begun[id(call)] = (call, step, self._args_of(call))
            self.frames[id(call)] = []
        for call in beat.ended:
            yield from self._end(call, beat.step)
        machine = self.rerun.machine
        for cpu in machine.active:
            for call in machine.cpus[cpu].stack:
                yield from self._look(call, beat.step)

    def rest(self) -> Iterator[dict[str, object]]:
        """Yield what is still open, as if it ended now."""
        for call, _, _ in list(self.begun.values())[::-1]:
            yield from self._end(call, self.rerun.machine.step)

    def _args_of(self, call: Call) -> dict[str, object]:
        args: dict[str, object] = {f"{n}": _shown("", arg) for n, arg in enumerate(call.args)}
        args["context"] = call.context
        given = self.rerun.input_of(call)
        if given is not None and given.by:
            args["task"] = given.by[:TEXT_CHARS_MAX]
        return args

    def _look(self, call: Call, step: int) -> Iterator[dict[str, object]]:
        """Compare the functions a call is in with those it was in, one step ago."""
        kept = self.frames[id(call)]
        now = call.frames()[::-1]
        if now and now[0] == call.name:
            now = now[1:]
        same = 0
        while same < min(len(kept), len(now)) and kept[same][0] == now[same]:
            same += 1
        for name, begin in kept[same:][::-1]:
            yield _slice(name, "function", begin, step, call.cpu)
        del kept[same:]
        kept += [(name, step) for name in now[same:]]

    def _end(self, call: Call, step: int) -> Iterator[dict[str, object]]:
        for name, begin in self.frames.pop(id(call))[::-1]:
            yield _slice(name, "function", begin, step, call.cpu)
        _, begin, args = self.begun.pop(id(call))
        yield _slice(call.name, "call", begin, step, call.cpu) | {"args": args}


class _Counters:
    """Three figures of the machine, told when they change, and not at every step."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.told: dict[str, int] = {}
        self.told_step = -COUNTERS_EVERY_STEPS

    def now(self, *, force: bool = False) -> Iterator[dict[str, object]]:
        """Yield a row for each figure that is another than when it was last told."""
        machine = self.machine
        if not force and machine.step - self.told_step < COUNTERS_EVERY_STEPS:
            return
        self.told_step = machine.step
        figures = _percpu_figures(machine) | {"free pages": machine.pages.nr_free_pages}
        for name, value in figures.items():
            if self.told.get(name) != value:
                self.told[name] = value
                yield {
                    "ph": "C", "name": name, "ts": machine.step, "pid": PID,
                    "args": {"value": value},
                }  # fmt: skip


def _percpu_figures(machine: Machine) -> dict[str, int]:
    """Return what is told of the per-CPU system: of chunks, or what every system can say."""
    percpu = machine.bitmap
    if percpu is not None:
        chunks = percpu.chunks.values()
        return {
            "per-CPU free bytes": sum(chunk.free_bytes for chunk in chunks),
            "per-CPU chunks": len(chunks),
        }
    areas = list(machine.system.live_areas())
    return {
        "per-CPU areas": len(areas),
        "per-CPU bytes of a copy": sum(size for _, size in areas),
        "per-CPU pages": machine.system.nr_pages(),
    }
