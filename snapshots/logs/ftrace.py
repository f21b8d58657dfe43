"""An ftrace log of the percpu events, from text to TraceLog.

    lines ──▶ a percpu event or a mark? ──▶ front, fields ──▶ TraceEvent
                     │ no
                     ├─ header, "CPU:1 [LOST 12 EVENTS]": facts about the log
                     ├─ raw, hex: the rendering threw the fields away: refused
                     └─ other events, other text: counted

A line that begins as an event and is malformed stops the reading: guessing would give a wrong
history. Only at the very end of a file is such a line normal, because whoever copied it stopped
there; it is dropped, and the log says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from snapshots.errors import TraceError
from snapshots.logs.trace_fields import malformed_at, read_event
from snapshots.logs.trace_line import (
    EVENT,
    HEX,
    LOST,
    NAMELESS,
    OTHER_EVENT,
    RAW,
    excerpt,
    malformed,
    read_front,
)
from snapshots.logs.trace_log import (
    Clock,
    LostLine,
    Marker,
    StampUnit,
    TraceEvent,
    TraceLog,
    pcpu_base_addr_from,
    pointers_look_hashed,
    possible_cpus_from,
)

__all__ = [
    "LostLine",
    "Marker",
    "TraceEvent",
    "TraceLog",
    "parse_trace",
    "pcpu_base_addr_from",
    "pointers_look_hashed",
    "possible_cpus_from",
]

EVENTS_MAX = 5_000_000
HEADER_CHARS_MAX = 500
COUNTER_STEPS_MAX = 64  # the counter clock moves by one an event, of any kind; a TSC by thousands
ENTRIES = re.compile(
    "# (?:entries-in-buffer/entries-written: |latency: .*#)([0-9]{1,18})/([0-9]{1,18})"
    r"\b.*#P:([0-9]{1,5})"
)
RELEASE = re.compile(r"# \S+ latency trace \S+ on (\S+)")
TRACE_CMD_CPUS = re.compile(r"cpus=([0-9]{1,5})\s*$")
POINTER_TEXT = re.compile(r" ?(?:base_addr|ptr)=(\w+)")


def parse_trace(lines: Iterable[str], source: str) -> TraceLog:
    """Return what a log says; source names it in messages.

    Raises: TraceError if a line is malformed, the rendering lost the fields, or no percpu event is
    there.
    """
    reader = _Reader(source)
    before = last = ""
    for line in lines:
        reader.read(line)
        before, last = last, line
    return reader.finish(last, may_be_cut=before.endswith("\n") and not last.endswith("\n"))


@dataclass(slots=True)
class _Reader:
    source: str
    line_no: int = 0
    events: list[TraceEvent] = field(default_factory=list)
    renderings: dict[str, int] = field(default_factory=dict)
    units: dict[str, int] = field(default_factory=dict)
    log: TraceLog = field(init=False)
    pending: TraceError | None = None  # about a malformed line, unless it proves to be the last
    pending_line_no: int = 0
    first_other: str = ""
    by_trace_cmd: bool = False

    def __post_init__(self) -> None:
        self.log = TraceLog(self.source, "", "none", "none", events=self.events)

    def read(self, line: str) -> None:
        """Take the next line."""
        self.line_no += 1
        if self.pending is not None and line.strip():
            raise self.pending
        found = EVENT.search(line)
        if found is None:
            self._read_other(line)
            return
        start = found.start()
        name = found[1]
        front = read_front(line, start)
        if front is None:
            self._refuse_front(line, start)
            return
        event = read_event(self.source, self.line_no, line, name, front, found.end())
        if event is None:
            self._suspect(line, *malformed_at(line, name, found.end()))
            return
        if len(self.events) >= EVENTS_MAX:
            raise TraceError(
                f"{self.source}: line {self.line_no}: more than {EVENTS_MAX} events; expected at "
                "most that: cut the log into pieces"
            )
        if event.kind == "mark":
            self.log.markers.append(Marker(self.line_no, event.text, len(self.events)))
        self.events.append(event)
        self.renderings[front.rendering] = self.line_no
        if front.stamp is not None:
            self.units[front.unit] = self.line_no

    def _read_other(self, line: str) -> None:
        if not line.strip():
            return
        if line.startswith("#"):
            self._read_header(line[:HEADER_CHARS_MAX])
        elif LOST.match(line):
            self.log.lost.append(LostLine(self.line_no, line.rstrip()))
        elif cpus := TRACE_CMD_CPUS.match(line):
            self.by_trace_cmd = True
            self.log.nr_cpus = int(cpus[1])
        elif RAW.match(line) or HEX.match(line):
            raise self._no_fields(line)
        elif nameless := NAMELESS.search(line):
            column = line.index("percpu_", nameless.start())
            self._suspect(line, column, "the name of a percpu event, a colon and its fields")
        elif other := OTHER_EVENT.match(line):
            self.log.ignored[other[1]] = self.log.ignored.get(other[1], 0) + 1
        else:
            self.log.nr_other_lines += 1
            self.first_other = self.first_other or line

    def _read_header(self, line: str) -> None:
        log = self.log
        entries = ENTRIES.match(line)
        if entries and log.entries_written is None:
            log.entries_in_buffer, log.entries_written = int(entries[1]), int(entries[2])
            log.nr_cpus = int(entries[3])
        elif release := RELEASE.match(line):
            log.kernel_release = release[1]

    def _refuse_front(self, line: str, start: int) -> None:
        """Take a line whose event is known but not what stands before it."""
        other = OTHER_EVENT.match(line)
        if other and other.start(1) < start:  # the text of another event quotes a percpu line
            self.log.ignored[other[1]] = self.log.ignored.get(other[1], 0) + 1
            return
        expected = "TASK-PID [CPU] flags seconds: before the event, as in tracing/trace"
        self._suspect(line, 0, expected)

    def _suspect(self, line: str, column: int, expected: str) -> None:
        self.pending = malformed(self.source, self.line_no, line, column, expected)
        self.pending_line_no = self.line_no

    def _no_fields(self, line: str) -> TraceError:
        option = "hex" if HEX.match(line) else "raw"
        return TraceError(
            f"{self.source}: line {self.line_no}: {excerpt(line, 0)}: the trace option {option!r} "
            f"lost the fields of the events; expected their text: echo no{option} > trace_options, "
            "then read the trace again"
        )

    def finish(self, last: str, *, may_be_cut: bool) -> TraceLog:
        """Return the log; last is the last line, may_be_cut says that it alone lacks a newline."""
        log = self.log
        log.nr_lines = self.line_no
        if self.pending is not None:
            log.torn_line_no = self.pending_line_no
        elif may_be_cut and self._is_cut(last):
            log.torn_line_no = self.events.pop().line_no
        if not any(event.kind != "mark" for event in self.events):
            raise self._no_events()
        log.rendering = self._rendering()
        log.stamp_unit, log.clock = self._stamp_unit(), self._clock()
        return log

    def _is_cut(self, last: str) -> bool:
        """Say whether the last line is an event whose end seems to be missing.

        A file may well end without a newline, so only what differs from the others is doubted.
        """
        if not self.events or self.events[-1].line_no != self.line_no:
            return False
        event, others = self.events[-1], self.events[:-1]
        if event.kind == "mark":
            return False
        pointers = [found[1] for found in POINTER_TEXT.finditer(last)]
        widths = {len(text) for text in pointers if not text.startswith("0x")}
        if len(widths) > 1 or not widths <= {8, 16}:
            return True
        if event.kind == "alloc":
            texts = {other.gfp for other in others if other.kind == "alloc"}
            if event.gfp not in texts and any(text.startswith(event.gfp) for text in texts):
                return True
        return (
            event.kind in ("alloc", "free")
            and pcpu_base_addr_from(others) is not None
            and pcpu_base_addr_from(self.events) is None
        )

    def _rendering(self) -> str:
        names = list(self.renderings)
        if self.by_trace_cmd and names[0] in ("default", "noirq-info"):
            names[0] = "trace-cmd report"
        return names[0] if len(names) == 1 else "mixed: " + ", ".join(names)

    def _stamp_unit(self) -> StampUnit:
        if not self.units:
            return "none"
        if len(self.units) > 1:
            return "mixed"
        return "count" if "" in self.units else "ns"

    def _clock(self) -> Clock:
        unit = self._stamp_unit()
        if unit == "ns":
            return "latency" if "us" in self.units else "time"
        if unit != "count":
            return unit
        stamps = [event.stamp for event in self.events if event.stamp is not None]
        span = max(stamps) - min(stamps)
        return "counter" if span <= COUNTER_STEPS_MAX * self.line_no else "x86-tsc"

    def _no_events(self) -> TraceError:
        parts: list[str] = []
        if self.log.markers:
            parts.append(f"{len(self.log.markers)} marks")
        if self.log.ignored:
            most = sorted(self.log.ignored, key=lambda name: -self.log.ignored[name])[:3]
            parts.append(f"{sum(self.log.ignored.values())} other events ({', '.join(most)})")
        if self.log.nr_other_lines:
            parts.append(
                f"{self.log.nr_other_lines} other lines, first {excerpt(self.first_other, 0)}"
            )
        if self.log.torn_line_no is not None:
            parts.append(f"line {self.log.torn_line_no}, of which the end is missing")
        return TraceError(
            f"{self.source}: no percpu event in {self.line_no} lines; found "
            f"{', '.join(parts) or 'nothing'}; expected lines with 'percpu_alloc_percpu: …': "
            "echo 1 > /sys/kernel/tracing/events/percpu/enable"
        )
