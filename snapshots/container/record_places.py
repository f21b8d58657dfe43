"""Where the records of a file are: by its index, or else by scanning.

    header │ record │ record │ … │ index │ trailer       the trailer leads to the index
    header │ record │ record │ rec▒▒▒                    scanned up to the TornTail
                             └ from this byte on nothing is believed

A scan takes one record after another as long as their checksums are right. After the first one that
is cut off or damaged the rest is only searched for one more complete record: if there is one, this
is damage in the middle and no torn tail, and nobody may cut the rest away.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar, cast

from snapshots.container import limits
from snapshots.container.record_index import (
    INDEX_KIND,
    TRAILER_BYTES,
    TRAILER_KIND,
    RecordTable,
    Trailer,
    decode_trailer,
)
from snapshots.container.records import (
    Header,
    Torn,
    decode_frame,
    decode_header,
    decode_record,
)
from snapshots.errors import RecordingError

SLICE_RECORDS = 1000  # scanned in a few milliseconds
_Result = TypeVar("_Result")
_HEADER_READ_BYTES = limits.HEADER_BYTES_MAX + 64  # the longest header there is
_HEAD_BYTES = 64  # more than a record has before its key
_RECORD_HEAD = re.compile(rb"\x95[\xa1-\xbf][A-Za-z][a-z0-9_]{0,30}\xcc.\xce.{4}\xc4", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TornTail:
    """Where a file stops making sense, why, and how much of it lies behind.

    next_complete_offset_bytes: a later record that is complete; None for a mere torn tail.
    """

    offset_bytes: int
    lost_bytes: int
    reason: str
    next_complete_offset_bytes: int | None = None


def read_header(file_descriptor: int, file_bytes: int) -> Header:
    """Return the header of a file. Raises: RecordingError, see decode_header()."""
    return decode_header(read_at(file_descriptor, 0, min(_HEADER_READ_BYTES, file_bytes)))


def indexed_records(
    file_descriptor: int, *, start_bytes: int, end_bytes: int
) -> RecordTable | None:
    """Return all records between two offsets by the index at their end; None if it is no good."""
    trailer_at = end_bytes - TRAILER_BYTES
    if trailer_at < start_bytes:
        return None
    last_bytes = read_at(file_descriptor, trailer_at, TRAILER_BYTES)
    trailer = decode_trailer(last_bytes)
    if trailer is None or not start_bytes <= trailer.index_offset_bytes <= trailer_at:
        return None
    try:
        return _table_by_trailer(file_descriptor, trailer, start_bytes, trailer_at)
    except RecordingError:
        return None  # whatever is wrong with it, a scan tells what the file really holds


def scan_records(
    file_descriptor: int, *, start_bytes: int, end_bytes: int
) -> tuple[RecordTable, TornTail | None]:
    """Return all complete records between two offsets, and what follows them that is none.

    The checksum of every record is verified, its body is not unpacked. Only the file's own bytes
    up to end_bytes are looked at, so a file that grows meanwhile does no harm.
    Raises: RecordingError only for what no scan can live with: too many kinds, a file that shrank.
    """
    table = RecordTable(start_bytes)
    return table, drained(scan_slices(file_descriptor, table, end_bytes))


def drained(slices: Generator[None, None, _Result]) -> _Result:
    """Go through slices at once and return what comes of them."""
    while True:
        try:
            next(slices)
        except StopIteration as ended:
            return cast("_Result", ended.value)


def scan_slices(
    file_descriptor: int, table: RecordTable, end_bytes: int
) -> Generator[None, None, TornTail | None]:
    """Enter into a table all complete records behind its last one; return what follows that is none.

    Gives way every now and then, so that whoever scans a long file can do something else meanwhile.
    """
    window_at, window = table.end_bytes, b""
    while table.end_bytes < end_bytes:
        if len(table) % SLICE_RECORDS == 0:
            yield
        at = table.end_bytes
        try:
            frame = decode_frame(window, at - window_at, base_bytes=window_at)
        except RecordingError as error:
            return _torn_tail(file_descriptor, at, end_bytes, str(error))
        if not isinstance(frame, Torn):
            table.add(frame.kind, length_bytes=frame.length_bytes, key_packed=frame.key_packed)
            continue
        if window_at + len(window) >= end_bytes:
            return _torn_tail(file_descriptor, at, end_bytes, frame.reason)
        wanted_bytes = max(frame.needed_bytes, limits.SCAN_WINDOW_BYTES)
        window_at, window = at, read_at(file_descriptor, at, min(wanted_bytes, end_bytes - at))
        yield
    return None


def read_at(file_descriptor: int, offset_bytes: int, length_bytes: int) -> bytes:
    """Return exactly these bytes of a file. Raises: RecordingError if it has become shorter."""
    pieces: list[bytes] = []
    missing_bytes = length_bytes
    while missing_bytes:
        piece = os.pread(
            file_descriptor, missing_bytes, offset_bytes + length_bytes - missing_bytes
        )
        if not piece:
            raise RecordingError(
                f"byte {offset_bytes}: {length_bytes} bytes were here, {missing_bytes} of them "
                "are gone: something cut the file while it was being read"
            )
        pieces.append(piece)
        missing_bytes -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _table_by_trailer(
    file_descriptor: int, trailer: Trailer, start_bytes: int, trailer_at: int
) -> RecordTable | None:
    index_at = trailer.index_offset_bytes
    packed_index = read_at(file_descriptor, index_at, trailer_at - index_at)
    frame = decode_frame(packed_index)
    if isinstance(frame, Torn) or frame.kind != INDEX_KIND:
        return None
    if trailer != Trailer(index_at, len(packed_index), frame.crc32):
        return None
    index = decode_record(packed_index)
    assert not isinstance(index, Torn)  # its frame was complete
    table = RecordTable.from_body(index.body, start_bytes=start_bytes, end_bytes=index_at)
    table.add(INDEX_KIND, length_bytes=frame.length_bytes, key_packed=frame.key_packed)
    table.add(TRAILER_KIND, length_bytes=TRAILER_BYTES, key_packed=b"")
    return table


def _torn_tail(file_descriptor: int, at: int, end_bytes: int, reason: str) -> TornTail:
    following = _next_complete_record(file_descriptor, at + 1, end_bytes)
    return TornTail(at, end_bytes - at, reason, following)


def _next_complete_record(file_descriptor: int, start_bytes: int, end_bytes: int) -> int | None:
    """Return the offset of the first complete record, looking at a limited number of places."""
    candidates_left = limits.RESYNC_CANDIDATES_MAX
    window_at = start_bytes
    while window_at < end_bytes:
        length_bytes = min(limits.SCAN_WINDOW_BYTES + _HEAD_BYTES, end_bytes - window_at)
        window = read_at(file_descriptor, window_at, length_bytes)
        for match in _RECORD_HEAD.finditer(window):
            if match.start() >= limits.SCAN_WINDOW_BYTES:
                break  # the next window begins with it
            if not candidates_left:
                return None
            candidates_left -= 1
            if _is_complete_record(file_descriptor, window_at + match.start(), end_bytes):
                return window_at + match.start()
        window_at += limits.SCAN_WINDOW_BYTES
    return None


def _is_complete_record(file_descriptor: int, at: int, end_bytes: int) -> bool:
    wanted_bytes = min(_HEAD_BYTES, end_bytes - at)
    while True:
        try:
            frame = decode_frame(read_at(file_descriptor, at, wanted_bytes), base_bytes=at)
        except RecordingError:
            return False
        if not isinstance(frame, Torn):
            return True
        if at + frame.needed_bytes > end_bytes:
            return False
        wanted_bytes = frame.needed_bytes
