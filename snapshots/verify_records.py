"""Are the records of a file what they say? Every checksum, every blob's hash, every body, and the index.

This believes nothing and runs nothing: what the records mean for a machine is verify.py's part.
"""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from snapshots.container.blobs import BLOB_KIND, BlobHash
from snapshots.container.record_index import INDEX_KIND, TRAILER_KIND, RecordEntry
from snapshots.container.recording_file import RecordingReader
from snapshots.errors import RecordingError
from snapshots.recording import UNDERSTOOD

PROBLEMS_MAX = 20


class RecordsChecked(NamedTuple):
    """What was found: problems with their byte offset, and how many records there are."""

    problems: list[str]
    nr_records: int


def check_records(path: Path) -> RecordsChecked:
    """Scan a file and look at every record. Raises RecordingError for what is no recording we know."""
    with RecordingReader.open(path, understood=UNDERSTOOD, use_index=False) as scanned:
        problems: list[str] = []
        if scanned.torn is not None:
            problems.append(f"{path}: {torn_text(scanned)}")
        problems += _index_problems(path, scanned)
        for entry in scanned.records():
            problem = _problem_of(scanned, entry)
            if problem:
                problems.append(problem)
            if len(problems) >= PROBLEMS_MAX:
                break
        return RecordsChecked(problems, len(scanned))


def torn_text(reader: RecordingReader) -> str:
    """Return what a scan says of the place at which a file stops making sense, "" if there is none."""
    torn = reader.torn
    if torn is None:
        return ""
    text = f"{torn.reason}; {torn.lost_bytes} bytes from byte {torn.offset_bytes} on are lost"
    if torn.next_complete_offset_bytes is not None:
        text += f"; a complete record stands behind it at byte {torn.next_complete_offset_bytes}"
    return text


def _problem_of(reader: RecordingReader, entry: RecordEntry) -> str:
    if entry.kind in (INDEX_KIND, TRAILER_KIND):
        return ""  # read when the file is opened by them
    try:
        if entry.kind == BLOB_KIND:
            name = entry.key.get("hash")
            if not isinstance(name, bytes):
                return f"{reader.path}: byte {entry.offset_bytes}: a blob without a hash"
            reader.blob(BlobHash(name))
        else:
            reader.read(entry)
    except RecordingError as problem:
        return str(problem)
    return ""


def _index_problems(path: Path, scanned: RecordingReader) -> list[str]:
    """Hold the index, if the file ends with one, against what the scan found."""
    with RecordingReader.open(path, understood=UNDERSTOOD) as indexed:
        if not indexed.is_indexed:
            last = _last_of(scanned)
            if last is None or scanned.torn is not None or last.kind != TRAILER_KIND:
                return []  # it was not closed, and does not say that it was
            return [f"{path}: byte {last.offset_bytes}: the trailer leads to no good index"]
        for one, other in zip_longest(indexed.records(), scanned.records()):
            if one != other:
                at = (other or one).offset_bytes
                return [f"{path}: byte {at}: the index tells of another record than stands there"]
    return []


def _last_of(reader: RecordingReader) -> RecordEntry | None:
    found = None
    for entry in reader.records():
        found = entry
    return found
