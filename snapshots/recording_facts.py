"""What a recording is and what is in it, by its index alone: nothing is run, no segment is unpacked.

    format, schema, size, records by kind ── the container        a damaged file tells the byte
    machine in words, origin              ── the header, the branch record
    steps, inputs, events, marks          ── the keys of segments  bytes per operation

A million operations are a few thousand records, so this is quick; whether it is all true is for verify.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, cast

from kernel_sim.config import MachineConfig
from kernel_sim.config_hardware import BEFORE_THEY_EXISTED
from kernel_sim.errors import ConfigError
from kernel_sim.topology import format_cpu_list
from snapshots.bookmarks import read_bookmarks
from snapshots.branches import MAIN
from snapshots.container.recording_file import RecordingReader
from snapshots.errors import RecordingError
from snapshots.origin import Origin
from snapshots.recording import BOOKMARK, CONFIG
from snapshots.recording_heads import BranchRecords, records_by_branch
from snapshots.verify_records import torn_text

Fact: TypeAlias = "tuple[str, int | str]"
MARK_WORDS = (("c", "chunks created"), ("d", "chunks destroyed"), ("f", "failed allocations"))
LISTED_MAX = 40  # branches and bookmarks, one line each


@dataclass(slots=True)
class Facts:
    """Names and values in the order in which to read them, and what is wrong with the file."""

    rows: list[Fact] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, name: str, value: int | str) -> None:
        """Add a fact."""
        self.rows.append((name, value))


def recording_facts(path: str | os.PathLike[str]) -> Facts:
    """Return the facts of a recording, also of a damaged one.

    Raises: RecordingError if it is none, or its header is damaged or of a newer major format.
    """
    with RecordingReader.open(path) as reader:
        facts = Facts()
        _add_container(facts, reader)
        try:
            branches = records_by_branch(reader)
        except RecordingError as problem:
            facts.problems.append(str(problem))
            branches = {}
        _try(facts, lambda: _add_machine(facts, reader))
        main = branches.get(MAIN, BranchRecords())
        _add_run(facts, reader, main)
        _try(facts, lambda: _add_end(facts, reader, main))
        _try(facts, lambda: _add_branches(facts, reader, branches))
        _try(facts, lambda: _add_bookmarks(facts, reader))
        return facts


def _try(facts: Facts, add) -> None:  # type: ignore[no-untyped-def]
    """Add some facts; what cannot be read of a damaged file is a problem, and the rest is told."""
    try:
        add()
    except (RecordingError, ConfigError) as problem:
        facts.problems.append(str(problem))


def _add_container(facts: Facts, reader: RecordingReader) -> None:
    header = reader.header
    facts.add("file", "recording")
    facts.add("format", f"{header.major}.{header.minor}")
    for name in ("schema", "program"):
        value = header.fields.get(name)
        if isinstance(value, int | str):
            facts.add(name, value)
    file_bytes = Path(reader.path).stat().st_size
    facts.add("bytes", file_bytes)
    facts.add("found by", "index" if reader.is_indexed else "scan")
    if reader.torn is not None:
        facts.problems.append(f"{reader.path}: {torn_text(reader)}")
    counts: dict[str, list[int]] = {}
    for entry in reader.records():
        count = counts.setdefault(entry.kind, [0, 0])
        count[0] += 1
        count[1] += entry.length_bytes
    facts.add("records", len(reader))
    for kind, (nr_records, nr_bytes) in counts.items():
        facts.add(f"{kind} records", nr_records)
        facts.add(f"{kind} bytes", nr_bytes)


def _add_machine(facts: Facts, reader: RecordingReader) -> None:
    mapping = reader.header.fields.get("config")
    if mapping is None:
        for entry in reader.records(CONFIG):
            if entry.key.get("b", MAIN) == MAIN:
                mapping = reader.read(entry)
    if not isinstance(mapping, dict):
        raise RecordingError(f"{reader.path}: the header has no config of a machine")
    if reader.header.fields.get("schema") == 1:
        mapping = BEFORE_THEY_EXISTED | mapping
    where = f"{reader.path}: header"
    config = MachineConfig.from_mapping(cast("Mapping[str, object]", mapping), where=where)
    facts.add("machine", config.name)
    facts.add("kernel", config.kernel.version)
    facts.add("architecture", config.kernel.arch_name)
    facts.add("possible CPUs", format_cpu_list(config.cpus.possible))
    facts.add("online CPUs", format_cpu_list(config.cpus.online))
    facts.add("nodes", len(config.nodes))


def _add_run(facts: Facts, reader: RecordingReader, main: BranchRecords) -> None:
    """Add the main branch's length by the keys of its segments; those are checked when it is opened."""
    first = main.keyframes[0].key.get("s") if main.keyframes else None
    last = main.segments[-1].key.get("l") if main.segments else first
    for name, value in (("first step", first), ("last step", last)):
        if isinstance(value, int):
            facts.add(name, value)
    nr_inputs = _sum(main, "ni")
    facts.add("inputs", nr_inputs)
    facts.add("events", _sum(main, "ne"))
    facts.add("segments", len(main.segments))
    facts.add("keyframes", len(main.keyframes))
    if nr_inputs:
        file_bytes = Path(reader.path).stat().st_size
        facts.add("bytes per operation", f"{file_bytes / nr_inputs:.1f}")
    if main.end is None:
        facts.problems.append(
            f"{reader.path}: the recording has no end: it is being written, or its writer was killed"
        )


def _sum(records: BranchRecords, name: str) -> int:
    numbers = [entry.key.get(name) for entry in records.segments]
    return sum(number for number in numbers if isinstance(number, int))


def _add_end(facts: Facts, reader: RecordingReader, main: BranchRecords) -> None:
    if main.end is None:
        return
    body = _map_of(reader.read(main.end))
    marks = body.get("marks")
    if isinstance(marks, list):
        kinds = [row[1] for row in marks if isinstance(row, list) and len(row) == 2]
        for kind, words in MARK_WORDS:
            facts.add(words, kinds.count(kind))
    origin = Origin.from_body(body.get("origin"))
    facts.add("origin", origin.kind)
    if origin.source:
        facts.add("source", origin.source)
    if origin.mode:
        facts.add("mode", origin.mode)
        facts.add("inferred", len(origin.inferred))
        facts.add("divergences", len(origin.divergences))
    for name, count in origin.counts.items():
        if isinstance(count, int):
            facts.add(str(name).replace("_", " "), count)


def _add_branches(
    facts: Facts, reader: RecordingReader, branches: dict[int, BranchRecords]
) -> None:
    facts.add("branches", len(branches))
    others = [number for number in branches if number != MAIN]
    for number in others[:LISTED_MAX]:
        records = branches[number]
        body = _map_of(reader.read(records.end)) if records.end is not None else {}
        name = body.get("name", f"b{number}")
        text = f"off {body.get('parent', '?')} at step {body.get('fork', '?')},"
        text += f" ends at {body.get('end', '?')}, {_sum(records, 'ni')} inputs of its own"
        facts.add(f"branch {number}", f"{name!s:.64}: {text:.200}")


def _add_bookmarks(facts: Facts, reader: RecordingReader) -> None:
    bookmarks = read_bookmarks([reader.read(entry) for entry in reader.records(BOOKMARK)])
    facts.add("bookmarks", len(bookmarks))
    for bookmark in list(bookmarks.values())[:LISTED_MAX]:
        place = f"step {bookmark.step}" + (
            f" of branch {bookmark.branch}" if bookmark.branch else ""
        )
        facts.add(f"@{bookmark.name}", place)


def _map_of(body: object) -> dict[str, object]:
    if not isinstance(body, dict):
        raise RecordingError(f"a branch record is {body!r:.60}; expected a map")
    return body
