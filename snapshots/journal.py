"""A session written down while it is used, so that it can be taken up again if it dies.

    who only looks     header ─ here ─ here …                                   a few bytes a stop
    who acts           the recording one came from, byte for byte, or the run written whole,
                       ─ Segment ─ Keyframe ─ tail ─ bookmark ─ here …         what is new after each command

Both are recordings; the newest `here` says where the user stands, where the session came from, and how many
inputs are saved nowhere else. The writer's lock tells a journal in use from that of a dead session.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from snapshots.bookmarks import Bookmark
from snapshots.branches import MAIN, BranchTree
from snapshots.container.file_access import naming, part_path
from snapshots.container.record_places import drained
from snapshots.container.recording_file import RecordingReader, RecordingWriter
from snapshots.errors import RecordingError
from snapshots.origin import Origin
from snapshots.recording import CONFIG, IN_RECORD, SCHEMA, header_of
from snapshots.recording_growth import TreeGrowth, held_by
from snapshots.recording_source import FileSource

HERE = "here"
SYNC_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where the user of a session stands, and what the session is."""

    branch: int
    step: int
    end_step: int
    nr_unsaved: int = 0
    is_unsaved: bool = False
    source: str = ""  # the file that was opened, empty: none
    machine: str = ""  # the machine's TOML that was named with it
    name: str = ""
    began_s: int = 0  # seconds since 1970, as the system's clock has them
    source_bytes: int = 0  # how far the session knows its source, 0: nobody knows

    def to_body(self) -> dict[str, object]:
        """Return it as a record's body."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_body(cls, body: object) -> Place:
        """Return what to_body() gave. Raises RecordingError."""
        if not isinstance(body, dict):
            raise RecordingError("a place is no map")
        plain = cls(0, 0, 0)
        found = {name: body.get(name, getattr(plain, name)) for name in cls.__slots__}
        for name, value in found.items():
            if type(value) is not type(getattr(plain, name)):
                raise RecordingError(f"a place: {name} is {value!r:.60}")
        place = cls(**found)
        if min(place.branch, place.step, place.end_step) < 0:
            raise RecordingError(f"a place: branch {place.branch}, step {place.step}")
        return place


@dataclass(slots=True)
class Journal:
    """The file of one session that is in use; its lock is held until the end."""

    path: Path
    writer: RecordingWriter
    growth: TreeGrowth | None = None  # None: the run is not in it, nobody has acted
    place: Place | None = None  # the newest one in the file
    synced_s: float = field(default_factory=monotonic)

    @classmethod
    def begin(cls, path: Path) -> Journal:
        """Begin the journal of somebody who only looks, so far. Raises RecordingError."""
        return cls(path, RecordingWriter.create(path, {"schema": SCHEMA, "journal": True}))

    @classmethod
    def resuming(cls, path: Path) -> Generator[None, None, Journal]:
        """Go on with the journal of a dead session, in slices.

        Raises: RecordingError, also if its session lives.
        """
        writer = yield from RecordingWriter.reopening(path)
        try:
            with RecordingReader.open(path) as reader:
                holds_run = "journal" not in reader.header.fields
                held = yield from held_by(reader, writer)
        except BaseException:
            writer.leave()
            raise
        return cls(path, writer, TreeGrowth(writer, held) if holds_run else None)

    def note(
        self, tree: BranchTree, origin: Origin, bookmarks: Mapping[str, Bookmark], place: Place
    ) -> None:
        """Write down what is new since the last time; see noting()."""
        drained(self.noting(tree, origin, bookmarks, place))

    def noting(
        self, tree: BranchTree, origin: Origin, bookmarks: Mapping[str, Bookmark], place: Place
    ) -> Generator[None, None, None]:
        """Write down what is new, in slices; all of it survives a kill of this process after the last.

        Raises: RecordingError. What was noted before is then in the file.
        """
        is_broken = self.growth is not None and self.growth.is_broken
        if is_broken or (self.growth is None and place.is_unsaved):
            yield from self._take_up_run(tree, origin)
        if self.growth is not None:
            yield from self.growth.grow(tree, origin, bookmarks)
        if place != self.place:
            self.writer.append(HERE, place.to_body(), {}, compress=False)
            self.writer.flush()
            self.place = place
        self._sync_sometimes()

    def remove(self) -> None:
        """End it: nothing in it is needed any more. Raises RecordingError."""
        with naming(self.path, safe="it remains"):
            self.path.unlink(missing_ok=True)
        self.writer.leave()

    def keep(self) -> None:
        """End it as it is, for somebody who comes back. Raises RecordingError."""
        self.writer.close()

    def _take_up_run(self, tree: BranchTree, origin: Origin) -> Generator[None, None, None]:
        """Put the run into the file: it takes the place of the one that held places only."""
        part = part_path(self.path)
        whole = yield from _whole_journal(part, tree, origin)
        try:
            with naming(self.path, safe="autosave knows the place, not the run"):
                part.replace(self.path)
        except BaseException:
            whole.writer.leave()
            part.unlink(missing_ok=True)
            raise
        self.writer.leave()
        self.writer, self.growth, self.place = whole.writer, whole, None
        self.writer.path = self.path

    def _sync_sometimes(self) -> None:
        """Hand the file to the disk now and then, without waiting for it: for power cuts."""
        if self.growth is None or monotonic() - self.synced_s < SYNC_EVERY_S:
            return
        self.synced_s = monotonic()
        descriptor = os.dup(self.writer.fileno())
        threading.Thread(target=_sync_and_close, args=(descriptor,), daemon=True).start()


def _sync_and_close(descriptor: int) -> None:
    try:
        os.fdatasync(descriptor)
    except OSError:
        return  # the next write tells
    finally:
        os.close(descriptor)


def _whole_journal(
    part: Path, tree: BranchTree, origin: Origin
) -> Generator[None, None, TreeGrowth]:
    """Return the growth of a new file that holds the run: its own file's bytes, or all written anew."""
    source = tree.branches[MAIN].timeline.source
    if isinstance(source, FileSource):
        writer = yield from RecordingWriter.copying(source.reader, part)
        try:
            held = yield from held_by(source.reader, writer)
        except BaseException:
            writer.leave()
            part.unlink(missing_ok=True)
            raise
        return TreeGrowth(writer, held)
    config = tree.branches[MAIN].timeline.machine.config
    header = header_of(config)
    writer = RecordingWriter.create(part, header)
    try:
        if IN_RECORD in header:
            writer.append(CONFIG, config.to_mapping(), {})
        growth = TreeGrowth(writer)
        # With its end, and so its marks: whoever reopens it need not read all segments for them.
        yield from growth.finish(tree, origin, {})
    except BaseException:
        writer.leave()
        part.unlink(missing_ok=True)
        raise
    return growth


def read_place(reader: RecordingReader) -> Place | None:
    """Return the newest place in a journal, None if there is none that can be read."""
    for entry in reversed(list(reader.records(HERE))):
        try:
            return Place.from_body(reader.read(entry))
        except RecordingError:
            continue
    return None
