"""What is in a recording: a machine's config, and its run as keyframes and segments, branch by branch.

    header      config, what it was made from
    Config      the config, if it is too long for a header (symbols of a whole kernel); or a branch's own
    Keyframe    hashes of the machine's parts at the beginning of a segment
    Blob Patch  parts by hash, whole or as what differs from another
    Segment     inputs and events up to the next keyframe
    tail        inputs that no segment holds yet
    Branch      where a branch goes off and ends, its marks, how it came about; the last of a branch counts
    bookmark    a name for a step

A run is written while it goes on: every closed segment is in the file before the next one is begun. What a
writer that was killed left without a Branch record is complete up to its last segment, or tail.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.config_hardware import BEFORE_THEY_EXISTED
from kernel_sim.errors import ConfigError
from kernel_sim.machine import Machine
from snapshots.bookmarks import Bookmark, read_bookmarks
from snapshots.branches import BRANCHES_MAX, MAIN, MAIN_NAME, Branch, BranchTree
from snapshots.container.blobs import BlobHash
from snapshots.container.limits import HEADER_BYTES_MAX
from snapshots.container.record_places import drained
from snapshots.container.recording_file import RecordingReader, whole_recording
from snapshots.errors import RecordingError
from snapshots.following import Following
from snapshots.origin import Origin
from snapshots.recording_heads import BranchRecords, heads_of, records_by_branch, set_marks
from snapshots.recording_sink import (
    BRANCH,
    KEYFRAME,
    PATCH,
    SEGMENT,
    RecordingSink,
    writing_run,
)
from snapshots.recording_source import FileParts, FileSource
from snapshots.recording_tail import read_tail
from snapshots.segment import SegmentHead, marks_of
from snapshots.state_codec import encode_part
from snapshots.timeline import Timeline

__all__ = [
    "OpenRecording", "Origin", "RecordingSink", "header_of", "open_recording", "save_timeline",
    "save_tree", "saving_tree",
]  # fmt: skip

CONFIG, BOOKMARK = "Config", "bookmark"
UNDERSTOOD = (CONFIG, KEYFRAME, PATCH, SEGMENT, BRANCH)
IN_RECORD = "config_record"  # of the header: the config stands in a record of its own
HEADER_SPARE_BYTES = 1024
PROGRAM = "kmemscope"
SCHEMA = 3  # 1: plain pages, no TLBs. 2: segments are rows, keyframes are full. 3: columns, patches, a tree


def header_of(config: MachineConfig) -> dict[str, object]:
    """Return a recording's header; a config that is too long for it goes into a record."""
    about: dict[str, object] = {"schema": SCHEMA, "program": _program()}
    header = {"config": config.to_mapping(), **about}
    if len(encode_part(header)) <= HEADER_BYTES_MAX - HEADER_SPARE_BYTES:
        return header
    return {IN_RECORD: True, **about}


@cache
def _program() -> str:
    """Return the program that writes, with its version: who reads a strange file wants to know."""
    try:
        return f"{PROGRAM} {version(PROGRAM)}"
    except PackageNotFoundError:
        return PROGRAM


def save_timeline(
    path: str | os.PathLike[str], timeline: Timeline, origin: Origin, *, overwrite: bool = True
) -> None:
    """Write one run to a file that appears complete or not at all. Raises RecordingError."""
    save_tree(path, BranchTree.of(timeline), origin, overwrite=overwrite)


def save_tree(
    path: str | os.PathLike[str],
    tree: BranchTree,
    origin: Origin,
    bookmarks: Mapping[str, Bookmark] | None = None,
    *,
    overwrite: bool = True,
) -> None:
    """Write all branches and bookmarks to a file that appears complete or not at all.

    Raises: RecordingError.
    """
    drained(saving_tree(path, tree, origin, bookmarks, overwrite=overwrite))


def saving_tree(
    path: str | os.PathLike[str],
    tree: BranchTree,
    origin: Origin,
    bookmarks: Mapping[str, Bookmark] | None = None,
    *,
    overwrite: bool = True,
) -> Generator[None, None, None]:
    """Do as save_tree() in slices; who does not go through them all saves nothing."""
    config = tree.branches[MAIN].timeline.machine.config
    header = header_of(config)
    with whole_recording(path, header, overwrite=overwrite) as writer:
        if IN_RECORD in header:
            writer.append(CONFIG, config.to_mapping(), {})
        known: dict[BlobHash, int] = {}
        for _, branch in tree.walk():
            if branch.has_own_machine:
                own = branch.timeline.machine.config
                writer.append(CONFIG, own.to_mapping(), {"b": branch.number})
            about = about_branch(branch)
            run = branch.timeline
            yield from writing_run(writer, run, origin, branch.number, about, known)
        for bookmark in (bookmarks or {}).values():
            writer.append(BOOKMARK, bookmark.to_body(), {})


def about_branch(branch: Branch) -> dict[str, object] | None:
    """Return what a branch record says besides its run, None for the main branch as boot made it."""
    if branch.parent is None and branch.name == MAIN_NAME:
        return None
    return {
        "name": branch.name, "parent": -1 if branch.parent is None else branch.parent,
        "fork": branch.fork_step, "shared": branch.timeline.nr_shared, "note": branch.note,
        "own": branch.has_own_machine,
    }  # fmt: skip


@dataclass(slots=True)
class OpenRecording:
    """A recording that was opened: its machine, standing at the beginning, and its branches."""

    path: Path
    config: MachineConfig
    tree: BranchTree
    origin: Origin
    reader: RecordingReader
    sources: dict[int, FileSource] = field(default_factory=dict)
    bookmarks: dict[str, Bookmark] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    following: Following | None = None
    bookmarks_in_file: dict[str, Bookmark] = field(default_factory=dict)  # those of the last look

    def follow(self) -> bool:
        """Take up in place what a writer has appended since; False if that was nothing.

        Raises: RecordingError if the file was cut, is damaged, or does not fit the machine.
        """
        found = self.following.look() if self.following is not None else []
        if any(entry.kind == BOOKMARK for entry in found):
            self._follow_bookmarks()
        return bool(found)

    def _follow_bookmarks(self) -> None:
        """Take over what the writer has named and forgotten; names of one's own stay."""
        bodies = [self.reader.read(entry) for entry in self.reader.records(BOOKMARK)]
        before, now = self.bookmarks_in_file, read_bookmarks(bodies)
        for name in [name for name in before if name not in now]:
            if self.bookmarks.get(name) == before[name]:
                del self.bookmarks[name]
        self.bookmarks |= {name: mark for name, mark in now.items() if before.get(name) != mark}
        self.bookmarks_in_file = now

    @property
    def timeline(self) -> Timeline:
        """The main branch's run, or the one that was asked for."""
        return self.tree.current.timeline

    @property
    def source(self) -> FileSource:
        """What is in the file of that branch."""
        return self.sources[self.tree.current_number]


def open_recording(path: str | os.PathLike[str], branch: int = MAIN) -> OpenRecording:
    """Open a recording and stand at the first step of a branch. Raises RecordingError."""
    reader = RecordingReader.open(path, understood=UNDERSTOOD)
    try:
        opened = _Opening(reader).open()
        if branch not in opened.tree.branches:
            raise RecordingError(f"{reader.path}: there is no branch {branch}")
        opened.tree.current_number = branch
        opened.timeline.seek(opened.timeline.first_step)
        return opened
    except BaseException:
        reader.close()
        raise


class _Opening:
    """What is known of a recording while it is being opened."""

    def __init__(self, reader: RecordingReader) -> None:
        self.reader = reader
        self.path = reader.path
        self.warnings: list[str] = []
        self.schema = _schema_of(reader)
        self.configs = _configs_of(reader)
        self.parts = FileParts(reader)
        self.records = records_by_branch(reader)
        if len(self.records) > BRANCHES_MAX:
            raise RecordingError(
                f"{self.path}: {len(self.records)} branches; a recording has at most {BRANCHES_MAX}"
            )
        self.bodies = {number: self._body(each) for number, each in self.records.items()}
        self.sources: dict[int, FileSource] = {}
        self.heads: dict[int, list[SegmentHead]] = {}
        self.origin = Origin()

    def open(self) -> OpenRecording:
        """Return the opened recording; only the main branch's run is made at once."""
        if self.reader.torn is not None:
            torn = self.reader.torn
            self.warnings.append(
                f"{self.path}: torn: {torn.reason}; {torn.lost_bytes} bytes from there on are lost"
            )
        if MAIN not in self.records:
            raise RecordingError(
                f"{self.path}: no segment of branch 0 is complete: nothing to show"
            )
        config, machine = self._machine(MAIN)
        main = self._timeline(MAIN, machine)
        if "origin" in self.bodies[MAIN]:
            self.origin = Origin.from_body(self.bodies[MAIN]["origin"])
        tree = BranchTree.of(main)
        tree.branches[MAIN].name = self._text(MAIN, "name", MAIN_NAME)
        for number in self.records:
            if number != MAIN:
                self.add_branch(tree, number)
        bodies = [self.reader.read(entry) for entry in self.reader.records(BOOKMARK)]
        return OpenRecording(
            self.path, config, tree, self.origin, self.reader, self.sources, read_bookmarks(bodies),
            self.warnings,
            Following(
                self.reader, self.parts, tree, self.records, partial(self.take_branch, tree)
            ),
            read_bookmarks(bodies),
        )  # fmt: skip

    def _body(self, records: BranchRecords) -> dict[str, object]:
        """Return what a branch record says, nothing where the writer was killed before it."""
        told: dict[str, object] = {}
        entries = [records.end, records.about]
        for entry in entries if records.end is not records.about else entries[:1]:
            if entry is None:
                continue
            body = self.reader.read(entry)
            if not isinstance(body, dict) or not isinstance(body.get("marks"), list):
                at = entry.offset_bytes
                raise RecordingError(f"{self.path}: byte {at}: the branch record is damaged")
            told = {**told, **body, "marks": told.get("marks", body["marks"])}
        return told

    def _number(self, branch: int, name: str, default: int) -> int:
        value = self.bodies[branch].get(name, default)
        if type(value) is not int:
            raise RecordingError(f"{self.path}: branch {branch}: {name} is {value!r:.60}")
        return value

    def _text(self, branch: int, name: str, default: str) -> str:
        value = self.bodies[branch].get(name, default)
        if not isinstance(value, str) or len(value) > 1000 or not value.isprintable():
            raise RecordingError(f"{self.path}: branch {branch}: {name} is {value!r:.60}")
        return value

    def _machine(self, branch: int) -> tuple[MachineConfig, Machine]:
        mapping = self.configs.get(branch)
        if mapping is None:
            raise RecordingError(f"{self.path}: the header has no config of a machine")
        try:
            if self.schema == 1:
                mapping = {**BEFORE_THEY_EXISTED, **mapping}
            config = MachineConfig.from_mapping(mapping, where=f"{self.path}: header")
            return config, boot(config)
        except ConfigError as problem:
            raise RecordingError(str(problem)) from problem

    def take_branch(self, tree: BranchTree, number: int) -> None:
        """Take up a branch that a writer at work has begun since, or has renamed."""
        if number != MAIN and not self.records[number].is_begun:
            return
        self.configs = _configs_of(self.reader)
        self.bodies[number] = self._body(self.records[number])
        branch = tree.branches.get(number)
        if branch is None:
            self.add_branch(tree, number)
        else:
            branch.name, branch.note = (
                self._text(number, "name", branch.name),
                self._text(number, "note", ""),
            )

    def add_branch(self, tree: BranchTree, number: int) -> None:
        """Take up a branch of the file, unless a killed writer had only begun it."""
        records = self.records[number]
        if not records.is_begun and (self.schema > 2 or not records.keyframes):
            self.warnings.append(
                f"{self.path}: branch {number} was only begun when its writer was killed"
            )
            return
        parent = self._number(number, "parent", -1)
        if parent >= 0 and (parent >= number or parent not in tree.branches):
            raise RecordingError(
                f"{self.path}: branch {number} goes off from branch {parent}, which is not before it"
            )
        name = self._text(number, "name", f"b{number}")
        branch = Branch(
            number, name, None if parent < 0 else parent, self._number(number, "fork", 0),
            self._number(number, "end", 0), self._text(number, "note", ""),
            number in self.configs and self.bodies[number].get("own") is not False,
        )  # fmt: skip
        branch.end_step_of_file = max(branch.end_step_of_file, records.end_step)
        branch.load = lambda: self._load_branch(tree, branch)
        tree.branches[number] = branch

    def _load_branch(self, tree: BranchTree, branch: Branch) -> Timeline:
        """Make the run of a branch; who only asks for it stays where they stand.

        A tail is given to the machine, which those on other branches look at, too.
        """
        here = tree.current.loaded
        step = -1 if here is None or here.is_stale else here.step
        try:
            return self._make_branch(tree, branch)
        finally:
            if here is not None and here.is_stale and step >= 0:
                here.seek(step)

    def _make_branch(self, tree: BranchTree, branch: Branch) -> Timeline:
        """Make the run of a branch: on the machine of its parent, or on one of its own."""
        if branch.has_own_machine or branch.parent is None:
            _, machine = self._machine(branch.number if branch.has_own_machine else MAIN)
            return self._timeline(branch.number, machine)
        parent = self._load_parent(tree, branch.parent)
        return self._timeline(branch.number, parent.machine, branch.parent, parent.holder)

    def _load_parent(self, tree: BranchTree, number: int) -> Timeline:
        """Make the runs from which a branch goes off, the first one first: there may be hundreds."""
        waiting = [tree.branches[number]]
        while waiting[-1].loaded is None and not waiting[-1].has_own_machine:
            if (above := waiting[-1].parent) is None:
                break
            waiting.append(tree.branches[above])
        for parent in reversed(waiting):
            timeline = parent.timeline
        return timeline

    def _timeline(
        self, branch: int, machine: Machine, parent: int = -1, holder: list[Timeline] | None = None
    ) -> Timeline:
        records = self.records[branch]
        nr_shared = self._number(branch, "shared", 0) if parent >= 0 else 0
        known = self.heads.get(parent, [])
        if not 0 <= nr_shared <= len(known):
            raise RecordingError(f"{self.path}: branch {branch} shares {nr_shared} segments")
        heads = heads_of(self.path, records, known[:nr_shared])
        source = FileSource(
            self.parts, records.keyframes, records.segments, self.sources.get(parent), nr_shared
        )
        timeline = Timeline.reading(machine, source, heads, nr_shared)
        if holder is not None:
            timeline.holder = holder  # before a tail moves the machine
        self.sources[branch], self.heads[branch] = source, timeline.heads
        self._read_end(branch, timeline, nr_shared)
        return timeline

    def _read_end(self, branch: int, timeline: Timeline, nr_shared: int) -> None:
        """Set the marks; where there is no end, take up what the killed writer left in tails."""
        body = self.bodies[branch]
        own = timeline.heads[nr_shared:]
        records = self.records[branch]
        marked_bytes = 0
        if records.end is not None:
            set_marks(self.path, own, body.get("marks"))
            marked_bytes = records.end.offset_bytes
        if records.is_ended:
            return
        for number, head in enumerate(own[:-1], nr_shared):
            if records.segments[number - nr_shared].offset_bytes > marked_bytes:
                head.marks = marks_of(timeline.body(number).events)
        self.warnings += read_tail(self.reader, records, timeline)


def _schema_of(reader: RecordingReader) -> int:
    schema = reader.header.fields.get("schema", 2)
    if type(schema) is not int or schema < 1:
        raise RecordingError(f"{reader.path}: the header's schema is {schema!r:.40}")
    if schema > SCHEMA:
        raise RecordingError(
            f"{reader.path}: schema {schema} of a newer kmemscope; this one knows up to {SCHEMA}:"
            " update it to read this recording"
        )
    return schema


def _configs_of(reader: RecordingReader) -> dict[int, Mapping[str, object]]:
    """Return the machines' mappings by branch: the main one's from the header or its own record."""
    found: dict[int, Mapping[str, object]] = {}
    fields = reader.header.fields
    entries = list(reader.records(CONFIG))
    for entry in entries:
        branch, mapping = entry.key.get("b", MAIN), reader.read(entry)
        again = branch == MAIN and branch in found  # of another branch the later one counts
        if type(branch) is not int or not isinstance(mapping, dict) or again:
            raise RecordingError(
                f"{reader.path}: byte {entry.offset_bytes}: a Config of branch {branch!r:.40} that is no"
                " map, or the second one"
            )
        found[branch] = mapping
    if IN_RECORD in fields:
        if MAIN not in found:
            raise RecordingError(
                f"{reader.path}: 0 records Config; expected the one that the header tells of"
            )
        return found
    mapping = fields.get("config")
    if isinstance(mapping, dict):
        found[MAIN] = mapping
    return found
