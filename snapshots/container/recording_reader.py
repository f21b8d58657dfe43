"""Reading a recording: by its index, one record at a time, touching nothing that is not asked for.

The file is read by offset and never mapped into memory: a mapped file that somebody else cuts
kills whoever looks at it. Each record is verified when it is read, not when the file is opened.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Self

from snapshots.container import limits
from snapshots.container.blobs import BLOB_KIND, BlobHash, blob_key, check_blob
from snapshots.container.byte_cache import ByteCache
from snapshots.container.file_access import is_locked, naming, open_to_read
from snapshots.container.record_index import TRAILER_KIND, RecordEntry, RecordTable
from snapshots.container.record_places import (
    TornTail,
    drained,
    indexed_records,
    read_at,
    read_header,
    scan_records,
    scan_slices,
)
from snapshots.container.records import (
    Header,
    Torn,
    decode_frame,
    encode_key,
    is_critical,
    unpacked_record,
)
from snapshots.errors import RecordingError


class RecordingReader:
    """Reads one file, touching only what is asked for. Not for use from several threads."""

    def __init__(
        self, path: Path, descriptor: int, header: Header, table: RecordTable, *, cache_bytes: int
    ) -> None:
        """Only for open(): the descriptor becomes the reader's own."""
        self.path = path
        self.header = header
        self.torn: TornTail | None = None  # None: the file ends with a complete record
        self.is_indexed = True  # False: the file was scanned
        self._descriptor = descriptor
        self._table = table
        self._cache = ByteCache(cache_bytes)
        self._blob_numbers: dict[bytes, int] | None = None
        self._is_closed = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        understood: Collection[str] | None = None,
        use_index: bool = True,
        cache_bytes: int = limits.CACHE_BYTES_DEFAULT,
    ) -> Self:
        """Open a recording: by its index where it has a good one, else by scanning it.

        understood: the kinds that the caller knows; a critical one (capital first letter) that is
        not among them is refused. None: take any, for tools that only list and copy.
        use_index: False verifies the checksum of every record.
        Raises: RecordingError if this is no recording, its header is damaged, or its format newer.
        """
        target = Path(path)
        with naming(target, safe="nothing was read"):
            descriptor, file_bytes = open_to_read(target)
            try:
                header = read_header(descriptor, file_bytes)
                start_bytes = header.length_bytes
                table, torn, is_indexed = None, None, use_index
                if use_index:
                    table = indexed_records(
                        descriptor, start_bytes=start_bytes, end_bytes=file_bytes
                    )
                if table is None:
                    is_indexed = False
                    table, torn = scan_records(
                        descriptor, start_bytes=start_bytes, end_bytes=file_bytes
                    )
                if understood is not None:
                    _check_understood(table, understood)
            except BaseException:
                os.close(descriptor)
                raise
        reader = cls(target, descriptor, header, table, cache_bytes=cache_bytes)
        reader.torn, reader.is_indexed = torn, is_indexed
        return reader

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._table)

    def records(self, kind: str | None = None) -> Iterator[RecordEntry]:
        """Go through all records, or those of one kind, in the order in which they were written.

        Unknown kinds and the container's own (blobs, dead and living indices) are among them.
        """
        with naming(self.path):
            yield from self._table.entries(kind)

    def read(self, entry: RecordEntry) -> object:
        """Return the body of a record, built afresh at every call.

        Raises: RecordingError if the record is damaged, or is not the one that the index promises.
        """
        with naming(self.path):
            return self._body(entry)

    def has_blob(self, name: BlobHash) -> bool:
        """Return whether the recording has a blob of that name; it is not read."""
        return self._find_blob(name) is not None

    def blob(self, name: BlobHash) -> bytes:
        """Return the bytes of that name, verified. Raises: RecordingError if missing or damaged."""
        cached = self._cache.find(name)
        if cached is not None:
            return cached
        number = self._find_blob(name)
        if number is None:
            raise RecordingError(f"{self.path}: no blob {name.hex()} is in this recording")
        with naming(self.path):
            entry = self._table.entry(number)
            data = check_blob(self._body(entry), name, offset_bytes=entry.offset_bytes)
        self._cache.keep(name, data)
        return data

    @property
    def end_bytes(self) -> int:
        """Return where the last complete record ends that this reader knows of."""
        return self._table.end_bytes

    def raw_pieces(self) -> Iterator[tuple[int, bytes]]:
        """Go through the bytes of the file up to there, as they stand: (offset, bytes)."""
        with naming(self.path):
            for at in range(0, self.end_bytes, limits.SCAN_WINDOW_BYTES):
                piece_bytes = min(limits.SCAN_WINDOW_BYTES, self.end_bytes - at)
                yield at, read_at(self._descriptor, at, piece_bytes)

    def refresh(self) -> list[RecordEntry]:
        """Take up the complete records that a writer has appended since; return them.

        A record that is only begun is looked at again next time.
        Raises: RecordingError if the file was cut, or holds damage that no writer at work leaves.
        """
        with naming(self.path):
            known, end_bytes = len(self._table), os.fstat(self._descriptor).st_size
            if end_bytes < self._table.end_bytes:
                raise RecordingError(
                    f"the file had {self._table.end_bytes} bytes of complete records and has {end_bytes}"
                    " now: somebody has cut it; open it again"
                )
            if end_bytes == self._table.end_bytes:
                return []
            self.torn = drained(scan_slices(self._descriptor, self._table, end_bytes))
            if self.torn is not None and self.torn.next_complete_offset_bytes is not None:
                raise RecordingError(f"{self.torn.reason}; a complete record stands behind it")
            found = [self._table.entry(number) for number in range(known, len(self._table))]
            for entry in found if self._blob_numbers is not None else ():
                if entry.kind == BLOB_KIND and self._blob_numbers is not None:
                    self._blob_numbers[encode_key(entry.key)] = entry.number
            return found

    @property
    def is_closed_by_writer(self) -> bool:
        """Whether the newest record is a trailer: its writer has closed the file."""
        return len(self._table) > 0 and self._table.entry(len(self._table) - 1).kind == TRAILER_KIND

    @property
    def has_writer(self) -> bool:
        """Whether somebody is writing the file at this moment, as far as the file system knows locks."""
        return is_locked(self._descriptor)

    @property
    def is_replaced(self) -> bool:
        """Whether another file stands under its name: it was saved whole, and this one is history."""
        try:
            now = self.path.stat()
        except OSError:
            return True
        own = os.fstat(self._descriptor)
        return (now.st_dev, now.st_ino) != (own.st_dev, own.st_ino)

    def close(self) -> None:
        """Close the file; what was read from it remains valid."""
        if not self._is_closed:
            self._is_closed = True
            os.close(self._descriptor)

    def _body(self, entry: RecordEntry) -> object:
        """Return a record's body if the record is whole and is the one that was meant."""
        at = entry.offset_bytes
        if self._is_closed:
            raise RecordingError(f"byte {at}: the recording is closed")
        frame = decode_frame(read_at(self._descriptor, at, entry.length_bytes), base_bytes=at)
        if isinstance(frame, Torn):
            raise RecordingError(frame.reason)
        if not self._table.describes(entry, frame):
            raise RecordingError(
                f"byte {at}: a record {entry.kind!r} of {entry.length_bytes} bytes was promised, "
                f"here is {frame.kind!r} of {frame.length_bytes} or with another key; "
                "the index is wrong, open the file without it"
            )
        return unpacked_record(frame).body

    def _find_blob(self, name: BlobHash) -> int | None:
        if self._blob_numbers is None:
            self._blob_numbers = self._table.numbers_by_key(BLOB_KIND)
        return self._blob_numbers.get(encode_key(blob_key(name)))


def _check_understood(table: RecordTable, understood: Collection[str]) -> None:
    for kind in table.kinds:
        if is_critical(kind) and kind != BLOB_KIND and kind not in understood:
            first = next(table.entries(kind))
            raise RecordingError(
                f"byte {first.offset_bytes}: records of kind {kind!r} must be understood to use "
                "this recording, and this kmemscope does not know them; a newer one may"
            )
