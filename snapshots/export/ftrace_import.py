"""A log that ftrace_export.py wrote, read back to the recording it was made from.

The comments hold the machine and the inputs, so nothing has to be worked out: the machine is booted and
given them, each at its step. The event lines between them are then what it must do: the first one that
it does not do is a divergence. A statement that is damaged, missing or in the wrong place is an error with
its line; so is a log that was cut, for its last statement says how much there was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NoReturn

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.errors import KernelSimError
from kernel_sim.events import EventAt
from snapshots.errors import RecordingError, TraceError
from snapshots.export.trace_comments import (
    ANY_VERSION,
    PREFIX,
    VERSION,
    CommentReader,
    Statement,
    input_from_row,
)
from snapshots.export.trace_text import cpu_text, what_text
from snapshots.logs.ordering import Divergence
from snapshots.logs.report import ReplayReport
from snapshots.recording import SCHEMA, Origin
from snapshots.rerun import Retold, go_on_to, retell
from snapshots.segment_stores import SegmentSink
from snapshots.state_codec import state_digest

SinkFor = Callable[[MachineConfig], SegmentSink]
HEAD_WORDS = ("head", "machine", "origin")
LINES_BETWEEN_MAX = 1 << 20  # event lines between two statements
INPUTS_MAX = 5_000_000
SHOWN_CHARS_MAX = 160


@dataclass(slots=True)
class ImportedReport(ReplayReport):
    """What came of reading an exported log back; its origin is the one that the log tells."""

    told: Origin = field(default_factory=Origin)

    def origin(self) -> Origin:
        """Return what the recording said of itself when it was exported."""
        return self.told


def is_exported_first_line(line: str) -> bool:
    """Say whether a log that begins so was exported by us, in this language or a newer one."""
    return ANY_VERSION.fullmatch(line) is not None


def import_exported(
    lines: Iterable[str], source: str, sink_for: SinkFor | None = None
) -> ImportedReport:
    """Read an exported log, whose first line is among the lines, and make its run again.

    Raises: TraceError, with the line, for what no export of ours is; ConfigError for a machine that
    cannot be.
    """
    reader = _Importer(source, sink_for)
    for line_no, line in enumerate(lines, 1):
        reader.take(line, line_no)
    return reader.finish()


@dataclass(slots=True)
class _Importer:
    source: str
    sink_for: SinkFor | None
    comments: CommentReader = field(init=False)
    head: dict[str, object] = field(default_factory=dict)
    timeline: Retold | None = None
    report: ImportedReport = field(init=False)
    seen: deque[EventAt] = field(default_factory=deque)  # done, and not yet held against a line
    told: deque[tuple[int, str]] = field(default_factory=deque)  # lines, not yet compared
    is_ended: bool = False
    line_no: int = 0

    def __post_init__(self) -> None:
        self.comments = CommentReader(self.source)
        self.report = ImportedReport(self.source, "trace", "read back")

    def take(self, line: str, line_no: int) -> None:
        """Take the next line."""
        self.line_no = line_no
        if line_no == 1:
            self._check_version(line)
        elif line.startswith(PREFIX):
            if not line.endswith("\n"):
                self._refuse(line_no, "the log is cut off within this line")
            done = self.comments.take(line, line_no)
            if done is not None:
                self._obey(done)
        elif line.strip() and not line.startswith("#"):  # a # alone is the kernel's own header
            done = self.comments.finish()
            if done is not None:
                self._obey(done)
            self._tell(line.rstrip("\n"), line_no)

    def finish(self) -> ImportedReport:
        """Return the report of a log whose lines were all taken."""
        done = self.comments.finish()
        if done is not None:
            self._obey(done)
        if not self.is_ended or self.timeline is None:
            self._refuse(self.line_no, f"the log ends without `{PREFIX} end`: it was cut off here")
        timeline = self.timeline
        timeline.keeps_steps = False
        timeline.watch = None
        report = self.report
        report.timeline = timeline
        report.nr_operations = timeline.nr_inputs
        report.counts["steps"] = timeline.end_step
        report.notes.append("exported by kmemscope: the inputs in its comments were given again")
        return report

    def _check_version(self, line: str) -> None:
        found = ANY_VERSION.fullmatch(line)
        if found is None or int(found[1]) != VERSION:
            number = found[1] if found else "none"
            self._refuse(1, f"comments of version {number}; this kmemscope reads version {VERSION}")

    def _obey(self, statement: Statement) -> None:
        word, value, line_no = statement
        if self.is_ended:
            self._refuse(line_no, f"`{word}` behind the end of the run")
        if word in HEAD_WORDS:
            self._take_head(word, value, line_no)
        elif word == "input":
            self._take_input(value, line_no)
        elif word == "before" and isinstance(value, str):
            self._tell(value, line_no)
        elif word == "end":
            self._take_end(value, line_no)
        else:
            self._refuse(line_no, f"{word!r} is no word of these comments")

    def _tell(self, line: str, line_no: int) -> None:
        """Keep an event's line until the machine has come so far."""
        if self.is_ended:
            self._refuse(line_no, "a line behind the end of the run")
        self.told.append((line_no, line))
        if len(self.told) > LINES_BETWEEN_MAX:
            self._refuse(line_no, f"more than {LINES_BETWEEN_MAX} lines with no input between")

    # -- the head ----------------------------------------------------------------------------------

    def _take_head(self, word: str, value: object, line_no: int) -> None:
        if word in self.head or self.timeline is not None:
            self._refuse(line_no, f"`{word}` for the second time, or behind the first input")
        if not isinstance(value, dict):
            self._refuse(line_no, f"`{word}` is {value!r:.40}; expected an object")
        if word == "head":
            schema, first = value.get("schema"), value.get("first_step")
            if type(schema) is not int or schema > SCHEMA:
                self._refuse(line_no, f"schema {schema!r:.40}; this kmemscope knows up to {SCHEMA}")
            if first != 0:
                self._refuse(line_no, f"the run begins at step {first!r:.40}; expected 0")
        self.head[word] = value

    def _begun(self, line_no: int) -> Retold:
        """Return the time line, booting the machine if that was not done."""
        if self.timeline is not None:
            return self.timeline
        missing = [word for word in HEAD_WORDS if word not in self.head]
        if missing:
            self._refuse(line_no, f"`{missing[0]}` should stand before this")
        mapping, body = self.head["machine"], self.head["origin"]
        assert isinstance(mapping, dict)
        config = MachineConfig.from_mapping(mapping, where=f"{self.source}: machine")
        try:
            self.report.told = _checked(Origin.from_body(body))
        except RecordingError as problem:
            self._refuse(line_no, str(problem))
        sink = self.sink_for(config) if self.sink_for is not None else None
        self.timeline = Retold(boot(config), sink)
        self.timeline.watch = self.seen.extend
        self.report.kind = self.report.told.kind
        return self.timeline

    # -- the run -----------------------------------------------------------------------------------

    def _take_input(self, value: object, line_no: int) -> None:
        timeline = self._begun(line_no)
        if timeline.nr_inputs >= INPUTS_MAX:
            self._refuse(line_no, f"more than {INPUTS_MAX} inputs")
        try:
            retell(timeline, input_from_row(value))
        except ValueError as problem:
            self._refuse(line_no, f"input: {problem}")
        except KernelSimError as problem:
            self._refuse(line_no, f"input: {problem}")
        except Exception as problem:
            raise self._blamed(line_no, problem) from problem
        self._compare()

    def _take_end(self, value: object, line_no: int) -> None:
        timeline = self._begun(line_no)
        promised = value if isinstance(value, dict) else {}
        end_step = promised.get("end_step")
        if type(end_step) is not int or not 0 <= end_step < 1 << 62:
            self._refuse(
                line_no, f"the end is {value!r:.60}; expected a step, numbers and a digest"
            )
        try:
            go_on_to(timeline, end_step)
        except KernelSimError as problem:
            self._refuse(line_no, f"end: {problem}")
        except Exception as problem:
            raise self._blamed(line_no, problem) from problem
        self._compare()
        self.is_ended = True
        if promised.get("inputs") != timeline.nr_inputs:
            self._refuse(
                line_no,
                f"{timeline.nr_inputs} inputs were read, the end tells of {promised.get('inputs')!r:.40}",
            )
        now = {"events": timeline.nr_events, "digest": state_digest(timeline.machine)}
        for name, here in now.items():
            if promised.get(name) != here:
                self._diverge(line_no, name, f"{promised.get(name)!r:.60}", f"{here!r}")

    def _blamed(self, line_no: int, problem: Exception) -> Exception:
        """Return what to raise for inputs that no machine of ours can be given."""
        return TraceError(
            f"{self.source}: line {line_no}: the inputs up to here are what no machine can do:"
            f" {type(problem).__name__}: {problem}"
        )

    def _compare(self) -> None:
        """Hold what the machine has done so far against the lines in between."""
        assert self.timeline is not None
        word_bytes = self.timeline.machine.arch.word_bytes
        while self.seen:
            at = self.seen.popleft()
            what = what_text(at.step, at.event, word_bytes)
            if not self.told:
                self._diverge(self.line_no, "event", "no line of it", what)
                return
            line_no, line = self.told.popleft()
            if not (line.endswith(what) and cpu_text(at.cpu) in line[: -len(what)]):
                self._diverge(line_no, "event", line.strip()[-SHOWN_CHARS_MAX:], what)
                return
            self.report.nr_compared += 1
        if self.told:
            line_no, line = self.told.popleft()
            self._diverge(line_no, "event", line.strip()[-SHOWN_CHARS_MAX:], "nothing")

    def _diverge(self, line_no: int, kind: str, expected: str, got: str) -> None:
        """Tell of a difference; of those between lines and events only the first."""
        if kind != "event" or not any(row.kind == kind for row in self.report.divergences):
            row = Divergence(line_no, -1, kind, expected, got.strip()[-SHOWN_CHARS_MAX:], "")
            self.report.divergences.append(row)
        self.seen.clear()
        self.told.clear()

    def _refuse(self, line_no: int, problem: str) -> NoReturn:
        raise TraceError(f"{self.source}: line {line_no}: {problem}")


def _checked(origin: Origin) -> Origin:
    """Return an origin whose lists hold what they should. Raises RecordingError."""
    numbers = origin.counts.values()
    if not all(isinstance(note, str) for note in origin.notes):
        raise RecordingError("origin: a note is no text")
    if not all(isinstance(number, int) for number in numbers):
        raise RecordingError("origin: a count is no number")
    if not all(isinstance(row, list) for row in [*origin.inferred, *origin.divergences]):
        raise RecordingError("origin: an inferred choice or a divergence is no list")
    return origin
