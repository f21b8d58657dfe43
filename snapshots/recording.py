"""What is in a recording: a machine's config, and its run as keyframes and segments.

    header      config, what it was made from
    Config      the config, if it is too long for a header (symbols of a whole kernel)
    Keyframe    hashes of the machine's parts at the beginning of a segment; the parts are blobs
    Segment     inputs and events up to the next keyframe
    Branch      where the run ends, its marks, how it came about; the last one for a branch counts

A run is written while it goes on: every closed segment is in the file before the next one is begun. A file
without its Branch record (the writer was killed) is complete up to the last segment that is in it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.config_hardware import BEFORE_THEY_EXISTED
from kernel_sim.errors import ConfigError
from kernel_sim.machine import Machine
from kernel_sim.machine_state import Parts
from snapshots.blobs import BlobHash
from snapshots.errors import RecordingError
from snapshots.limits import HEADER_BYTES_MAX
from snapshots.part_shapes import check_part
from snapshots.recording_file import RecordEntry, RecordingReader, RecordingWriter, whole_recording
from snapshots.segment import Mark, SegmentBody, SegmentHead, marks_of, pack_segment, unpack_segment
from snapshots.state_codec import check_part_size, decode_part, encode_part
from snapshots.timeline import Timeline, bytes_of

UNDERSTOOD = ("Config", "Keyframe", "Segment", "Branch")
MAIN_BRANCH = 0
IN_RECORD = "config_record"  # of the header: the config stands in a record of its own
HEADER_SPARE_BYTES = 1024
SCHEMA = 2  # of the header: 2 names page lists and TLBs, which machines of schema 1 did not have


@dataclass(slots=True)
class Origin:
    """How a recording came about, in builtin types: shown to who asks, not needed to run it."""

    kind: str = "session"  # or 'trace', 'golden'
    source: str = ""
    mode: str = ""  # of a trace: 'predicted' or 'observed'
    notes: list[str] = field(default_factory=list)  # why that mode, what was lost
    inferred: list[list[object]] = field(default_factory=list)  # line, kind, distance, text
    divergences: list[list[object]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    opens_at: int = 0  # the step at which to show it first; 0: its beginning

    def to_body(self) -> dict[str, object]:
        """Return it as a record's body."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_body(cls, body: object) -> Origin:
        """Return what to_body() gave; fields of a newer minor version are passed over."""
        if not isinstance(body, dict):
            raise RecordingError("the origin is not a map")
        origin = cls()
        for name in cls.__slots__:
            value = body.get(name, getattr(origin, name))
            if type(value) is not type(getattr(origin, name)):
                raise RecordingError(f"origin: {name} is {value!r}")
            setattr(origin, name, value)
        return origin


class RecordingSink:
    """Writes every segment of a timeline as soon as it is closed."""

    def __init__(self, writer: RecordingWriter, branch: int = MAIN_BRANCH) -> None:
        self.writer = writer
        self.branch = branch
        self._hashes: dict[str, tuple[object, BlobHash]] = {}

    def segment(self, number: int, head: SegmentHead, parts: Parts, packed: bytes) -> None:
        """Append the keyframe at the segment's beginning and the segment."""
        key = {"b": self.branch, "n": number, "s": head.first_step}
        self.writer.append("Keyframe", self._named(parts), key)
        key |= {
            "i": head.first_input, "e": head.first_event, "ni": head.nr_inputs,
            "ne": head.nr_events, "l": head.last_step,
        }  # fmt: skip
        self.writer.append("Segment", packed, key, compress=False)
        self.writer.flush()

    def _named(self, parts: Parts) -> dict[str, bytes]:
        named: dict[str, bytes] = {}
        fresh: dict[str, tuple[object, BlobHash]] = {}
        for name, part in parts.items():
            held = self._hashes.get(name)
            if held is None or held[0] is not part:
                packed = encode_part(part)
                check_part_size(packed)
                held = (part, self.writer.put_blob(packed))
            fresh[name] = held
            named[name] = bytes(held[1])
        self._hashes = fresh
        return named

    def finish(self, timeline: Timeline, origin: Origin) -> None:
        """Append what is still open and how it all came about."""
        number = len(timeline.heads) - 1
        head = timeline.heads[-1]
        head.last_step = timeline.end_step
        self.segment(
            number, head, timeline.keyframe_parts(number), pack_segment(timeline.open_body)
        )
        marks = [[mark.step, mark.kind] for mark in timeline.marks()]
        body = {"end": timeline.end_step, "marks": marks, "origin": origin.to_body()}
        self.writer.append("Branch", body, {"b": self.branch})


def header_of(config: MachineConfig) -> dict[str, object]:
    """Return a recording's header; a config that is too long for it goes into a record."""
    header: dict[str, object] = {"config": config.to_mapping(), "schema": SCHEMA}
    if len(encode_part(header)) <= HEADER_BYTES_MAX - HEADER_SPARE_BYTES:
        return header
    return {IN_RECORD: True, "schema": SCHEMA}


def save_timeline(
    path: str | os.PathLike[str],
    timeline: Timeline,
    origin: Origin,
    *,
    others: Sequence[Timeline] = (),
    overwrite: bool = True,
) -> None:
    """Write a whole run to a file that appears complete or not at all. Raises RecordingError.

    others are branches from which this one went off, kept under the numbers 1, 2, 3 …
    """
    header = header_of(timeline.machine.config)
    with whole_recording(path, header, overwrite=overwrite) as writer:
        if IN_RECORD in header:
            writer.append("Config", timeline.machine.config.to_mapping(), {})
        for branch, run in enumerate((timeline, *others)):
            sink = RecordingSink(writer, branch)
            for number, head in enumerate(run.heads[:-1]):
                packed = pack_segment(run.body(number))
                sink.segment(number, head, run.keyframe_parts(number), packed)
            sink.finish(run, origin)


class FileSource:
    """Segments and keyframes read from a file when asked for."""

    def __init__(
        self, reader: RecordingReader, keyframes: list[RecordEntry], segments: list[RecordEntry]
    ) -> None:
        self.reader = reader
        self.keyframes = keyframes
        self.segments = segments
        self._decoded: dict[str, tuple[bytes, object]] = {}
        self._checked: dict[tuple[str, bytes], None] = {}

    def parts(self, number: int) -> Parts:
        """Return the machine's parts at a keyframe; those that did not change are the same objects."""
        named = self.hashes(number)
        parts: Parts = {}
        fresh: dict[str, tuple[bytes, object]] = {}
        for name, blob in named.items():
            held = self._decoded.get(name)
            if held is None or held[0] != blob:
                held = (blob, self._part(number, name, blob))
            fresh[name] = held
            parts[name] = held[1]
        self._decoded = fresh
        return parts

    def _part(self, number: int, name: str, blob: bytes) -> object:
        """Return a part from its blob; what it looks like is checked once."""
        part = decode_part(self.reader.blob(BlobHash(blob)))
        if (name, blob) not in self._checked:
            try:
                check_part(name, part)
            except RecordingError as problem:
                raise RecordingError(
                    f"{self.reader.path}: keyframe {number}: {problem}"
                ) from problem
            self._checked[name, blob] = None
        return part

    def hashes(self, number: int) -> dict[str, bytes]:
        """Return the hash of every part at a keyframe."""
        named = self.reader.read(self.keyframes[number])
        if not isinstance(named, dict):
            raise RecordingError(f"{self.reader.path}: keyframe {number} is not a map of parts")
        for name, blob in named.items():
            if not isinstance(name, str) or not isinstance(blob, bytes):
                raise RecordingError(
                    f"{self.reader.path}: keyframe {number}: part {name!r} has no hash"
                )
        return named

    def body(self, number: int) -> SegmentBody:
        """Return what is in a segment."""
        packed = self.reader.read(self.segments[number])
        if not isinstance(packed, bytes):
            raise RecordingError(f"{self.reader.path}: segment {number} is not bytes")
        body = unpack_segment(packed)
        promised = tuple(self.segments[number].key.get(name) for name in ("ni", "ne"))
        if (len(body.inputs), len(body.events)) != promised:
            raise RecordingError(
                f"{self.reader.path}: segment {number} holds {len(body.inputs)} inputs and"
                f" {len(body.events)} events, its key promises {promised[0]} and {promised[1]}"
            )
        return body


@dataclass(slots=True)
class OpenRecording:
    """A recording that was opened: its machine, standing at the beginning, and its run."""

    path: Path
    config: MachineConfig
    timeline: Timeline
    origin: Origin
    reader: RecordingReader
    source: FileSource
    warnings: list[str]


def open_recording(path: str | os.PathLike[str], branch: int = MAIN_BRANCH) -> OpenRecording:
    """Open a recording and stand at its first step. Raises RecordingError."""
    reader = RecordingReader.open(path, understood=UNDERSTOOD)
    try:
        return _open(reader, branch)
    except BaseException:
        reader.close()
        raise


def _open(reader: RecordingReader, branch: int) -> OpenRecording:
    path = reader.path
    warnings: list[str] = []
    if reader.torn is not None:
        lost = f"{reader.torn.lost_bytes} bytes from there on are lost"
        warnings.append(f"{path}: torn: {reader.torn.reason}; {lost}")
    config, machine = _machine_of(path, _fields_of(reader))
    keyframes = _of_branch(reader, "Keyframe", branch)
    segments = _of_branch(reader, "Segment", branch)
    if not segments:
        raise RecordingError(f"{path}: no segment of branch {branch} is complete: nothing to show")
    source = FileSource(reader, keyframes[: len(segments)], segments)
    timeline = Timeline(machine)
    timeline.is_foreign = True
    heads = [_head_of(path, entry) for entry in segments]
    _check_heads(path, heads, keyframes, segments)
    timeline.heads = heads
    timeline.source = source
    timeline.nr_from_source = len(heads) - 1
    timeline.open_body = source.body(len(heads) - 1)
    timeline.store.keyframes = [source.parts(len(heads) - 1)]
    timeline.nr_inputs = heads[-1].first_input + len(timeline.open_body.inputs)
    timeline.nr_inputs_of_file = timeline.nr_inputs
    timeline.open_bytes = sum(bytes_of(given.args) for given in timeline.open_body.inputs)
    timeline.nr_events = heads[-1].first_event + len(timeline.open_body.events)
    timeline.end_step = heads[-1].last_step
    origin = Origin()
    ends = _of_branch(reader, "Branch", branch)
    if ends:
        origin = _read_end(reader, ends[-1], timeline)
    else:
        warnings.append(
            f"{path}: the recording has no end: what follows step {timeline.end_step} is lost"
        )
        for number, head in enumerate(heads[:-1]):
            head.marks = marks_of(timeline.body(number).events)
    timeline.must_reload = True
    timeline.seek(timeline.first_step)
    return OpenRecording(path, config, timeline, origin, reader, source, warnings)


def _fields_of(reader: RecordingReader) -> Mapping[str, object]:
    """Return the header's fields, with the config from its own record if it is not in the header."""
    fields = reader.header.fields
    if IN_RECORD not in fields:
        return fields
    entries = list(reader.records("Config"))
    if len(entries) != 1:
        raise RecordingError(
            f"{reader.path}: {len(entries)} records Config; expected the one that the header tells of"
        )
    return {**fields, "config": reader.read(entries[0])}


def _machine_of(path: Path, fields: Mapping[str, object]) -> tuple[MachineConfig, Machine]:
    mapping = fields.get("config")
    if not isinstance(mapping, dict):
        raise RecordingError(f"{path}: the header has no config of a machine")
    try:
        if fields.get("schema") == 1:
            mapping = BEFORE_THEY_EXISTED | mapping
        config = MachineConfig.from_mapping(mapping, where=f"{path}: header")
        return config, boot(config)
    except ConfigError as problem:
        raise RecordingError(str(problem)) from problem


def _of_branch(reader: RecordingReader, kind: str, branch: int) -> list[RecordEntry]:
    return [entry for entry in reader.records(kind) if entry.key.get("b") == branch]


def _head_of(path: Path, entry: RecordEntry) -> SegmentHead:
    numbers = [entry.key.get(name) for name in ("s", "i", "e", "ni", "ne", "l")]
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise RecordingError(
            f"{path}: byte {entry.offset_bytes}: a segment's key should hold six numbers"
        )
    first_step, first_input, first_event, nr_inputs, nr_events, last_step = cast(
        "list[int]", numbers
    )
    return SegmentHead(first_step, first_input, first_event, nr_inputs, nr_events, last_step)


def _check_heads(
    path: Path,
    heads: list[SegmentHead],
    keyframes: list[RecordEntry],
    segments: list[RecordEntry],
) -> None:
    """Refuse segments that do not follow each other, each with its own keyframe before it."""
    for kind, entries in (("Keyframe", keyframes[: len(segments)]), ("Segment", segments)):
        numbers = [(entry.key.get("n"), entry.key.get("s")) for entry in entries]
        if numbers != [(number, head.first_step) for number, head in enumerate(heads)]:
            raise RecordingError(
                f"{path}: the records {kind} are not one for each segment in order"
            )
    following = SegmentHead(heads[0].first_step, 0, 0)
    for number, head in enumerate(heads):
        place = (head.first_step, head.first_input, head.first_event)
        if place != (following.first_step, following.first_input, following.first_event):
            raise RecordingError(
                f"{path}: segment {number} does not begin where the one before ends"
            )
        if head.last_step < head.first_step:
            raise RecordingError(f"{path}: segment {number} ends before it begins")
        following = SegmentHead(
            head.last_step, head.first_input + head.nr_inputs, head.first_event + head.nr_events
        )


def _mark_of(path: Path, row: object) -> Mark:
    if isinstance(row, list) and len(row) == 2:
        step, kind = row
        if isinstance(step, int) and isinstance(kind, str):
            return Mark(step, kind)
    raise RecordingError(f"{path}: a mark of the branch is no step and letter")


def _read_end(reader: RecordingReader, entry: RecordEntry, timeline: Timeline) -> Origin:
    body = reader.read(entry)
    if not isinstance(body, dict) or not isinstance(body.get("marks"), list):
        raise RecordingError(
            f"{reader.path}: byte {entry.offset_bytes}: the branch record is damaged"
        )
    marks = [_mark_of(reader.path, row) for row in body["marks"]]
    heads = timeline.heads
    number = 0
    for mark in marks:
        while number + 1 < len(heads) and mark.step > heads[number + 1].first_step:
            number += 1
        heads[number].marks.append(mark)
    return Origin.from_body(body.get("origin"))
