"""The folder in which sessions keep their journals: whose are dead, what is in them, which may go.

    20261121-190858-demo-4711.kms          when it began, what was opened, the process
     └ locked: its session lives           └ not locked: it died, or was left with unsaved work

Nothing here reads a run: the newest place stands in a journal's last bytes.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from snapshots.container.file_access import is_locked, naming, open_to_append, open_to_read
from snapshots.container.record_places import read_at
from snapshots.container.recording_file import RecordingReader
from snapshots.container.records import Torn, decode_record
from snapshots.errors import RecordingError
from snapshots.journal import HERE, Journal, Place, read_place

SUFFIX = ".kms"
DEAD_MAX = 20
DEAD_BYTES_MAX = 512 << 20
KEPT_UNSAVED_S = 30 * 86400
LOOKED_AT_BYTES = 256 << 10
NAMES_TRIED = 100
_HERE_HEAD = b"\x95" + bytes([0xA0 + len(HERE)]) + HERE.encode() + b"\xcc"
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class DeadSession:
    """A journal that nobody writes."""

    path: Path
    place: Place | None  # None: it died before it stood anywhere
    last_s: float  # when it was written last, seconds since 1970
    nr_bytes: int


@dataclass(frozen=True, slots=True)
class JournalFolder:
    """One folder of journals; it need not exist."""

    path: Path

    def begin(self, source: str) -> Journal:
        """Begin a journal and make room for it. Raises RecordingError."""
        with naming(self.path, safe="there is no autosave"):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.prune()
        stem = _NOT_IN_A_NAME.sub("-", Path(source).stem)[:40] or "session"
        when = time.strftime("%Y%m%d-%H%M%S")
        for number in range(NAMES_TRIED):
            more = f"-{number}" if number else ""
            path = self.path / f"{when}-{stem}-{os.getpid()}{more}{SUFFIX}"
            if not path.exists():
                return Journal.begin(path)
        raise RecordingError(f"{self.path}: {NAMES_TRIED} journals of this very second")

    def dead(self) -> list[DeadSession]:
        """Return the journals that nobody writes, newest first; what cannot be read is not among them."""
        found: list[DeadSession] = []
        for path in self._paths():
            with contextlib.suppress(RecordingError, OSError):
                row = _dead_session(path)
                if row is not None:
                    found.append(row)
        return sorted(found, key=lambda row: (row.last_s, row.path.name), reverse=True)

    def discard(self, row: DeadSession) -> None:
        """Remove a dead session's journal for good. Raises RecordingError, also if somebody writes it."""
        with naming(row.path, safe="it remains"):
            descriptor, _ = open_to_append(row.path)
            try:
                row.path.unlink()
            finally:
                os.close(descriptor)

    def prune(self, now_s: float | None = None) -> list[Path]:
        """Remove journals that are too many, oldest first; unsaved work stays for a month at least."""
        now_s = time.time() if now_s is None else now_s
        rows = self.dead()
        nr_kept, kept_bytes = len(rows), sum(row.nr_bytes for row in rows)
        gone: list[Path] = []
        for row in reversed(rows):
            is_held = row.place is not None and row.place.is_unsaved
            if is_held and now_s - row.last_s < KEPT_UNSAVED_S:
                continue
            if row.place is None or nr_kept > DEAD_MAX or kept_bytes > DEAD_BYTES_MAX:
                with contextlib.suppress(RecordingError):
                    self.discard(row)
                    gone.append(row.path)
                    nr_kept, kept_bytes = nr_kept - 1, kept_bytes - row.nr_bytes
        return gone

    def _paths(self) -> Iterator[Path]:
        with contextlib.suppress(OSError):
            # A link may lead to a file of the user's, and a journal is written to.
            found = (path for path in self.path.glob(f"[0-9]*{SUFFIX}") if not path.is_symlink())
            yield from sorted(found)


def _dead_session(path: Path) -> DeadSession | None:
    descriptor, nr_bytes = open_to_read(path)
    try:
        if is_locked(descriptor):
            return None
        place = _last_place(descriptor, nr_bytes)
        last_s = os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
    if place is None:
        with RecordingReader.open(path) as reader:
            place = read_place(reader)
            if place is None and "journal" not in reader.header.fields:
                place = Place(
                    0, 0, 0, is_unsaved=True, name=path.stem
                )  # a run, and nobody knows where
    return DeadSession(path, place, last_s, nr_bytes)


def _last_place(descriptor: int, nr_bytes: int) -> Place | None:
    """Return the newest place, if it is among the last bytes: so that a long file need not be scanned."""
    length_bytes = min(nr_bytes, LOOKED_AT_BYTES)
    window = read_at(descriptor, nr_bytes - length_bytes, length_bytes)
    at = window.rfind(_HERE_HEAD)
    while at >= 0:
        with contextlib.suppress(RecordingError):
            record = decode_record(window, at)
            if not isinstance(record, Torn):
                return Place.from_body(record.body)
        at = window.rfind(_HERE_HEAD, 0, at)
    return None
