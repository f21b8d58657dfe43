"""Small machines, random schedules for them, and a slow model of what a timeline should show.

The model knows no keyframe and no segment: it boots a machine and gives it the inputs, one step at a time.
"""

from __future__ import annotations

import copy
import gzip
import math
import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from unittest import mock

import msgpack
from hypothesis import strategies as st

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.events import EventAt
from kernel_sim.inputs import Input, apply_input
from snapshots import moments as moments_module
from snapshots import timeline as timeline_module
from snapshots.container.blobs import blob_hash, blob_key
from snapshots.container.recording_file import RecordingReader
from snapshots.container.records import encode_header, encode_record
from snapshots.logs.line_order import order_lines
from snapshots.logs.ordering import OrderSearch, Plan
from snapshots.logs.plan_engine import PlanEngine
from snapshots.logs.trace_log import EventKind, TraceEvent, TraceLog
from snapshots.part_patch import apply_patch
from snapshots.segment import unpack_segment
from snapshots.segment_columns import CODES
from snapshots.state_codec import decode_part, encode_part, state_digest
from snapshots.timeline import NO_LIMIT, Timeline

GOLDEN = Path(__file__).parents[1] / "golden"
SHARED_GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
GFP_KERNEL, GFP_ATOMIC = 0xCC0, 0xA20

Action = tuple[object, ...]


def small_config(
    *,
    cpus: int = 2,
    nodes: int = 1,
    policy: str = "round_robin",
    seed: int = 0,
    work: str = "auto",
    **percpu: object,
) -> MachineConfig:
    """A machine with units of 32 KiB, so that chunks come and go after a few allocations."""
    nodes = min(nodes, cpus)
    cut = [cpu * nodes // cpus for cpu in range(cpus)]
    return MachineConfig.from_mapping(
        {
            "name": "small",
            "cpus": {"possible": f"0-{cpus - 1}" if cpus > 1 else "0"},
            "node": [
                {
                    "cpus": ",".join(str(cpu) for cpu in range(cpus) if cut[cpu] == node),
                    "memory_mib": 128,
                }
                for node in range(nodes)
            ],
            "percpu": {
                "static_bytes": 4096,
                "reserved_bytes": 0,
                "dynamic_bytes": 12288,
                "atom_bytes": 4096,
            }
            | percpu,
            "schedule": {"policy": policy, "seed": seed},
            "work": {"mode": work},
        },
        where="test",
    )


CONFIGS = st.builds(
    small_config,
    cpus=st.integers(1, 8),
    nodes=st.integers(1, 3),
    policy=st.sampled_from(["round_robin", "random", "pct"]),
    seed=st.integers(0, 9),
    work=st.sampled_from(["auto", "auto", "scripted"]),
)
_CPUS = st.integers(0, 7)
_PICKS = st.integers(0, 1 << 16)
ALLOCS = st.tuples(
    st.just("alloc"),
    _CPUS,
    st.sampled_from([4, 8, 24, 64, 200, 1024, 4096, 8192, 30000]),
    st.sampled_from([4, 8, 64, 4096]),
    st.sampled_from([GFP_KERNEL, GFP_KERNEL, GFP_KERNEL, GFP_ATOMIC]),
)
ACTIONS = st.one_of(
    ALLOCS,
    ALLOCS,
    st.tuples(st.just("free"), _CPUS, _PICKS),
    st.tuples(st.just("write"), _CPUS, _PICKS, st.integers(0, 255)),
    st.tuples(st.just("knob"), _CPUS, st.sampled_from([("purge_vmap",), ("fail_pages", 3)])),
    st.tuples(st.just("knob"), _CPUS, st.sampled_from([("fail_pages", -1), ("kworker",)])),
    st.tuples(st.just("run"), st.integers(0, 9)),
    st.tuples(st.just("drain")),
)
SCHEDULES = st.lists(ACTIONS, max_size=40)


def play(timeline: Timeline, actions: Iterable[Action]) -> None:
    """Give a timeline what a schedule says; frees and writes take an allocation that is done."""
    nr_cpus = len(timeline.machine.cpus)
    asked: list[int] = []
    for what, *rest in actions:
        if what == "run":
            timeline.advance(timeline.step + int(str(rest[0])))
            continue
        if what == "drain":
            timeline.advance(NO_LIMIT)
            continue
        cpu = int(str(rest[0])) % nr_cpus
        if what == "alloc":
            size, align, gfp = (int(str(value)) for value in rest[1:])
            asked.append(timeline.give("pcpu_alloc", cpu, (size, align, False, gfp, "here")))
        elif what == "knob":
            do, *args = rest[1]  # type: ignore[misc]
            timeline.give(do, cpu, tuple(args))
        else:
            calls = timeline.calls
            live = [n for n in asked if n in calls and calls[n].done and calls[n].result]
            if not live:
                continue
            chosen = live[int(str(rest[1])) % len(live)]
            ptr = int(str(calls[chosen].result))
            if what == "free":
                asked.remove(chosen)
                timeline.give("free_percpu", cpu, (ptr,))
            else:
                timeline.give("this_cpu_write", cpu, (ptr, int(str(rest[2])), 1))


def recorded(config: MachineConfig, actions: Iterable[Action]) -> Timeline:
    """A timeline that stands at its end."""
    timeline = Timeline(boot(config))
    play(timeline, actions)
    timeline.advance(NO_LIMIT)
    return timeline


def inputs_of(timeline: Timeline) -> list[Input]:
    return [timeline.input_at(number) for number in range(timeline.nr_inputs)]


def events_of(timeline: Timeline) -> list[EventAt]:
    return [timeline.event_at(number) for number in range(timeline.nr_events)]


def straight_run(
    config: MachineConfig, inputs: Sequence[Input], end_step: int
) -> tuple[dict[int, str], list[EventAt]]:
    """The model: the digest at every step and all events of these inputs, from boot on."""
    machine = boot(config)
    digests = {0: state_digest(machine)}
    waiting = list(inputs)
    while machine.step < end_step:
        here = machine.step
        while waiting and waiting[0].step <= machine.step == here:
            apply_input(machine, waiting.pop(0))
        if machine.step == here:
            machine.run(here + 1)
        assert machine.step > here, f"the run ends at step {here}, expected {end_step}"
        digests[machine.step] = state_digest(machine)
    return digests, machine.take_events()


@contextmanager
def short_segments(inputs: int, moment_every: int = 2, kept: int = 8) -> Iterator[None]:
    """Close a segment every few inputs, and keep moments as often."""
    with (
        mock.patch.object(timeline_module, "KEYFRAME_EVERY_INPUTS", inputs),
        mock.patch.object(timeline_module, "MOMENT_EVERY_INPUTS", moment_every),
        mock.patch.object(moments_module, "PER_OCTAVE", kept),
        mock.patch.object(timeline_module, "BODIES_MAX", 2),
    ):
        yield


BUSY: list[Action] = [
    *(("alloc", n % 4, 4096, 8, GFP_KERNEL) for n in range(6)),
    ("run", 5),
    *(("alloc", n % 3, 200 + n, 8, GFP_ATOMIC if n % 3 else GFP_KERNEL) for n in range(8)),
    ("drain",),
    ("write", 1, 3, 77),
    *(("free", n, n) for n in range(5)),
    ("run", 9),
    *(("alloc", n, 8192, 64, GFP_KERNEL) for n in range(6)),
    ("drain",),
    *(("free", n, n * 7) for n in range(9)),
    ("drain",),
    ("knob", 0, ("purge_vmap",)),
    *(("alloc", n, 30000, 4, GFP_KERNEL) for n in range(3)),
    ("drain",),
    *(("free", n, 65535 - n) for n in range(9)),
    ("drain",),
    *(("alloc", n, 1024, 4, GFP_KERNEL) for n in range(5)),
]
"""A schedule in which several calls are under way and chunks come and go."""


# -- logs ---------------------------------------------------------------------------------------------


def log_of(events: Sequence[TraceEvent], *, timed: bool = True) -> TraceLog:
    return TraceLog(
        source="hand-made",
        rendering="default",
        clock="time" if timed else "counter",
        stamp_unit="ns" if timed else "count",
        events=list(events),
        entries_in_buffer=len(events),
        entries_written=len(events),
    )


def plain_lines(path: Path) -> list[str]:
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    return text.decode().splitlines(keepends=True)


# -- recordings, taken apart and put together -----------------------------------------------------------


@dataclass
class Pieces:
    """A recording as values, so that a test can change one and write it with right checksums."""

    header: dict[str, object]
    records: list[tuple[str, dict[str, object], object]]

    @classmethod
    def of(cls, path: Path) -> Pieces:
        with RecordingReader.open(path) as reader:
            rows = [
                (entry.kind, dict(entry.key), reader.read(entry))
                for entry in reader.records()
                if entry.kind not in ("index", "trailer")
            ]
            return cls(dict(reader.header.fields), rows)

    def write(self, path: Path) -> Path:
        records = (encode_record(kind, body, key=key) for kind, key, body in self.records)
        path.write_bytes(encode_header(self.header) + b"".join(records))
        return path

    def places(self, kind: str) -> list[int]:
        return [place for place, row in enumerate(self.records) if row[0] == kind]

    def set(self, place: int, *, key: object = None, body: object = None) -> None:
        kind, old_key, old_body = self.records[place]
        new_key = cast("dict[str, object]", old_key if key is None else key)
        self.records[place] = (kind, new_key, old_body if body is None else body)

    def segment_rows(self, place: int) -> list[object]:
        """A segment as the rows of schema 2, which are easier to change than columns."""
        body = unpack_segment(cast("bytes", self.records[place][2]))
        inputs: list[object] = []
        step = 0
        for given in body.inputs:
            inputs.append([given.step - step, *given[1:3], list(given.args), *given[4:]])
            step = given.step
        events: list[object] = []
        step = 0
        for at, cpu, event in body.events:
            events.append([at - step, cpu, CODES[type(event)], list(event)])
            step = at
        return [inputs, events]

    def set_segment_rows(self, place: int, rows: object) -> None:
        self.set(place, body=zlib.compress(msgpack.packb(rows)))

    def segment_columns(self, place: int) -> object:
        packed = cast("bytes", self.records[place][2])
        return msgpack.unpackb(zlib.decompress(packed), strict_map_key=False)

    def changed_parts(self, place: int) -> dict[str, bytes]:
        """The parts that a keyframe names, which are those that are not as in the one before."""
        return cast("list[dict[str, bytes]]", self.records[place][2])[0]

    def part(self, place: int, name: str) -> object:
        """A part at a keyframe, where that or an earlier one names it."""
        keyframes = [at for at in self.places("Keyframe") if at <= place]
        named = [each for at in keyframes if (each := self.changed_parts(at)).get(name)]
        return msgpack.unpackb(self._packed_part(named[-1][name]), strict_map_key=False)

    def _packed_part(self, wanted: bytes) -> bytes:
        for kind, key, body in self.records:
            if kind == "Blob" and key["hash"] == wanted:
                return cast("bytes", body)
            if kind == "Patch" and key["h"] == wanted:
                base = decode_part(self._packed_part(cast("bytes", key["o"])))
                return encode_part(apply_patch(base, decode_part(cast("bytes", body))))
        raise KeyError(wanted)

    def set_part(self, place: int, name: str, packed: bytes) -> None:
        blob = blob_hash(packed)
        changed, gone = cast("list[dict[str, bytes]]", self.records[place][2])
        self.set(place, body=[changed | {name: bytes(blob)}, gone])
        self.records.insert(0, ("Blob", blob_key(blob), packed))


JUNK: list[object] = [
    None, True, -1, 0, 1, 7, 1 << 62, (1 << 63) - 1, -(1 << 63), 3.5, math.nan, math.inf, "", "x",
    "chunk.9", "pcpu_alloc", b"", b"x" * 16, [], [1], [[]], {}, {"a": 1}, {1: 2},
]  # fmt: skip


def places_in(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    found = [path]
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            found += places_in(inner, (*path, key))
    return found


def mutated(value: object, chance: random.Random) -> object:
    """One thing in a value of builtin types changed: another value, gone, twice, a little more."""
    value = copy.deepcopy(value)
    path = chance.choice(places_in(value))
    if not path:
        return chance.choice(JUNK)
    inner: object = value
    for key in path[:-1]:
        inner = cast("dict[object, object]", inner)[key]
    holder, key = cast("dict[object, object]", inner), path[-1]
    how = chance.choice(["set", "set", "set", "gone", "twice", "bump"])
    if how == "gone":
        del holder[key]
    elif how == "twice" and isinstance(inner, list):
        inner.insert(cast("int", key), inner[cast("int", key)])
    elif how == "bump" and isinstance(holder[key], int):
        holder[key] = cast("int", holder[key]) + chance.choice([-4096, -1, 1, 8, 4096])
    else:
        holder[key] = chance.choice(JUNK)
    return value


# -- a kernel whose log is known to be true ---------------------------------------------------------------

LOGGED_BASE = 0xFFFF888001000000
LOGGED_CHUNKS = 0xFFFFE8FFFF000000
KWORKER_PID = 9


class LoggedKernel:
    """The allocator alone, and the events that ftrace would print of it, in the order of deciding.

    What it prints when is up to the test: an event is only in the log once it is passed to print().
    """

    def __init__(self, config: MachineConfig) -> None:
        self.info = config.alloc_info()
        self.engine = PlanEngine(self.info)
        self.events: list[TraceEvent] = []
        self.time_us = 0
        self.bases = {
            number: chunk.base_addr - self.engine.percpu.base_addr + LOGGED_BASE
            for number, chunk in self.engine.percpu.chunks.items()
        }

    def alloc(
        self, size: int, *, cpu: int = 0, pid: int = 100, atomic: bool = False, flags: str = "...."
    ) -> list[TraceEvent]:
        """Decide an allocation; returns its lines: a chunk that was created for it comes first."""
        found = self.engine.alloc(cpu, size, 8, False, atomic)
        lines = self._chunk_lines(cpu, pid, "task")
        if found is None:
            event = self._event("alloc_fail", cpu, pid, flags)
            return [*lines, event._replace(size=size, align=8, is_atomic=atomic)]
        number, off = found
        event = self._event("alloc", cpu, pid, flags)
        event = event._replace(
            size=size, align=8, is_atomic=atomic, base_addr=self.bases[number], off=off,
            ptr=self.bases[number] + off - LOGGED_BASE & (1 << 64) - 1,
        )  # fmt: skip
        return [*lines, event]

    def free(
        self, event: TraceEvent, *, cpu: int = 0, pid: int = 100, flags: str = "...."
    ) -> TraceEvent:
        """Decide the free of what an alloc line tells."""
        number = next(n for n, base in self.bases.items() if base == event.base_addr)
        assert self.engine.free(cpu, number, event.off)
        freed = self._event("free", cpu, pid, flags)
        return freed._replace(base_addr=event.base_addr, off=event.off, ptr=event.ptr)

    def work(self, *, cpu: int = 0, nr_stretches: int | None = None) -> list[TraceEvent]:
        """Run the background work, or a piece of it; returns the lines it prints."""
        self.engine.run_work(nr_stretches)
        return self._chunk_lines(cpu, KWORKER_PID, "kworker/0:1")

    def _chunk_lines(self, cpu: int, pid: int, task: str) -> list[TraceEvent]:
        lines: list[TraceEvent] = []
        for kind, number in self.engine.produced:
            if kind == "create":
                self.bases[number] = LOGGED_CHUNKS - number * 0x100000
            event = self._event("create" if kind == "create" else "destroy", cpu, pid, "....")
            lines.append(event._replace(task=task, base_addr=self.bases[number]))
        self.engine.produced.clear()
        return lines

    def _event(self, kind: EventKind, cpu: int, pid: int, flags: str) -> TraceEvent:
        return TraceEvent(0, kind, "task", pid, cpu, flags, 0)

    def print(self, *lines: TraceEvent, after_us: int = 1) -> int:
        """Print lines, each so many microseconds after the one before; returns the last line's number."""
        for line in lines:
            self.time_us += after_us
            number = len(self.events) + 1
            self.events.append(line._replace(line_no=number, stamp=self.time_us * 1000))
        return len(self.events)

    def plan(self, *, timed: bool = True) -> Plan:
        """Work the order out from the log alone."""
        return self.search(timed=timed).plan()

    def search(self, *, timed: bool = True) -> OrderSearch:
        order = order_lines(log_of(self.events, timed=timed))
        return OrderSearch(order, PlanEngine(self.info), self.bases[0])
