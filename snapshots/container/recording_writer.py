"""Writing a recording: append, sync now and then, close; or whole in one go.

    append ──▶ pending bytes ── flush ──▶ the system ── sync ──▶ the disk
               lost by kill -9            lost by a power cut    safe

The pending bytes are written to the place in the file where they belong, so that a write that was
refused or interrupted halfway can simply be made again.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Self

from snapshots.container import limits
from snapshots.container.blobs import BLOB_KIND, BlobHash, blob_hash, blob_key
from snapshots.container.file_access import (
    check_may_replace,
    create_new,
    naming,
    open_to_append,
    part_path,
    replace_durably,
    sync_directory,
)
from snapshots.container.record_index import (
    INDEX_KIND,
    TRAILER_KIND,
    RecordEntry,
    RecordTable,
    Trailer,
    encode_trailer,
)
from snapshots.container.record_places import (
    SLICE_RECORDS,
    TornTail,
    drained,
    indexed_records,
    read_header,
    scan_slices,
)
from snapshots.container.recording_reader import RecordingReader
from snapshots.container.records import (
    FORMAT_MINOR,
    Torn,
    decode_frame,
    encode_header,
    encode_key,
    encode_record,
)
from snapshots.errors import RecordingError

_OWN_KINDS = frozenset({BLOB_KIND, INDEX_KIND, TRAILER_KIND})


class RecordingWriter:
    """Appends records to one file, whose lock it holds. Not for use from several threads."""

    def __init__(
        self,
        path: Path,
        descriptor: int,
        table: RecordTable,
        *,
        torn: TornTail | None = None,
        is_indexed: bool = False,
    ) -> None:
        """Only for create() and reopen(): the table ends where the file does."""
        self.path = path  # as the user knows it: for messages
        self.torn = torn  # what reopen() cut off
        self._descriptor = descriptor
        self._table = table
        self._written_bytes = self._begun_bytes = table.end_bytes
        self._pending = bytearray()
        self._blob_keys = dict.fromkeys(table.numbers_by_key(BLOB_KIND))
        self._is_indexed = is_indexed  # nothing follows the newest trailer
        self._is_closed = False

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], header: Mapping[str, object], *, overwrite: bool = False
    ) -> Self:
        """Begin a new recording; the file is there, with its header, when this returns.

        Raises: RecordingError if the file exists (unless overwrite), is no regular file, is being
        written by somebody else, or cannot be created. What was there before is then untouched.
        """
        target = Path(path)
        with naming(target, safe="no recording was begun, nothing was replaced"):
            check_may_replace(target, overwrite=overwrite)
            part = part_path(target) if overwrite else target
            writer = cls._begun(part, target, header)
            try:
                if overwrite:
                    part.replace(target)
            except BaseException:
                os.close(writer.fileno())
                part.unlink(missing_ok=True)
                raise
            sync_directory(target.parent)
        return writer

    @classmethod
    def reopen(cls, path: str | os.PathLike[str]) -> Self:
        """Continue a recording after its last complete record.

        Every checksum is verified first. A torn tail is cut off and told in `torn`; damage with
        complete records behind it is refused, since to go on would mean to destroy them.
        Raises: RecordingError also if the file is being written, or of a newer minor format.
        """
        return drained(cls.reopening(path))

    @classmethod
    def reopening(cls, path: str | os.PathLike[str]) -> Generator[None, None, Self]:
        """Reopen in slices: a long file takes a while to verify. What is not gone through locks nothing."""
        target = Path(path)
        with naming(target, safe="nothing was changed"):
            descriptor, file_bytes = open_to_append(target)
            try:
                return (yield from cls._continued(target, descriptor, file_bytes))
            except BaseException:
                os.close(descriptor)
                raise

    @classmethod
    def copying(
        cls, reader: RecordingReader, path: str | os.PathLike[str]
    ) -> Generator[None, None, Self]:
        """Begin a new file as a byte copy of what a reader sees, in slices; each checksum is verified.

        Raises: RecordingError also if the original is damaged. There is then no new file.
        """
        target = Path(path)
        with naming(target, safe="no copy was made"):
            descriptor = create_new(target)
            try:
                for at, piece in reader.raw_pieces():
                    _write_all(descriptor, piece, at)
                    yield
                return (yield from cls._continued(target, descriptor, reader.end_bytes))
            except BaseException:
                os.close(descriptor)
                target.unlink(missing_ok=True)
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def nr_records(self) -> int:
        """Return how many records follow the header."""
        return len(self._table)

    def fileno(self) -> int:
        """Return the descriptor of the open file."""
        return self._descriptor

    def append(
        self,
        kind: str,
        body: object,
        key: Mapping[str, object] | None = None,
        *,
        compress: bool | None = None,
    ) -> RecordEntry:
        """Append one record; it survives a kill of this process after the next flush().

        key: a small map, kept in the index, by which a reader finds this record among its kind.
        Raises: RecordingError if it cannot be recorded or the disk is full. The record is then not
        in the recording, and what was appended before still is.
        """
        if kind in _OWN_KINDS:
            raise RecordingError(f"{self.path}: records of kind {kind!r} are the container's own")
        return self._append(kind, body, key, compress=compress)

    def put_blob(self, data: bytes) -> BlobHash:
        """Keep the bytes, once, and return the name under which a reader finds them."""
        name = blob_hash(data)
        key_packed = encode_key(blob_key(name))
        if key_packed not in self._blob_keys:
            self._append(BLOB_KIND, data, blob_key(name))
            self._blob_keys[key_packed] = None
        return name

    def flush(self) -> None:
        """Hand everything to the system: it survives a kill of this process.

        Raises: RecordingError if the system takes it only in part. The rest is kept and written by
        the next flush() that succeeds; nothing is lost while this process lives.
        """
        self._check_open()
        try:
            while self._pending:
                taken_bytes = os.pwrite(self._descriptor, self._pending, self._written_bytes)
                if not taken_bytes:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                written_bytes, rest = self._written_bytes + taken_bytes, self._pending[taken_bytes:]
                self._written_bytes, self._pending = written_bytes, rest
        except OSError as error:
            raise RecordingError(f"{self.path}: {error.strerror}; {self._safe_part()}") from error

    def sync(self) -> None:
        """Hand everything to the disk: it survives a power cut. Raises: see flush()."""
        self.flush()
        with naming(self.path, safe="what was written may not survive a power cut"):
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Append the index and the trailer, make all durable and let others write.

        Raises: RecordingError if that fails. The file is closed all the same, and remains readable
        up to the last complete record.
        """
        if self._is_closed:
            return
        try:
            self.write_out()
        finally:
            self.leave()

    def write_out(self) -> None:
        """Append the index and the trailer and make all durable; more can be appended behind them."""
        self._append_index()
        self.sync()

    def leave(self) -> None:
        """Let others write without an index or a sync: what was flushed stays as it is."""
        if not self._is_closed:
            self._is_closed = True
            os.close(self._descriptor)

    def abandon(self) -> None:
        """Take back all that this writer has appended, and close: the file is what it was before.

        Raises: RecordingError if the system does not even cut it; every complete record is readable then.
        """
        if self._is_closed:
            return
        try:
            with naming(self.path, safe="what was there before is readable up to its last record"):
                os.ftruncate(self._descriptor, self._begun_bytes)
                os.fsync(self._descriptor)
        finally:
            self.leave()

    def names(self, kind: str, field: str) -> Generator[None, None, dict[bytes, None]]:
        """Return, in slices, what the keys of a kind have in one field, where that is bytes."""
        found: dict[bytes, None] = {}
        for number, entry in enumerate(self._table.entries(kind)):
            name = entry.key.get(field)
            if isinstance(name, bytes):
                found[name] = None
            if number % SLICE_RECORDS == 0:
                yield
        return found

    @classmethod
    def _begun(cls, path: Path, shown_path: Path, header: Mapping[str, object]) -> Self:
        """Return a writer of a new file that holds its header; there is no file if that fails."""
        head = encode_header(header)
        descriptor = create_new(path)
        try:
            if os.pwrite(descriptor, head, 0) < len(head):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return cls(shown_path, descriptor, RecordTable(len(head)))

    @classmethod
    def _continued(
        cls, path: Path, descriptor: int, file_bytes: int
    ) -> Generator[None, None, Self]:
        header = read_header(descriptor, file_bytes)
        if header.minor > FORMAT_MINOR:
            raise RecordingError(
                f"format {header.major}.{header.minor} can be read here, but continued only by a "
                f"kmemscope that knows more than format {header.major}.{FORMAT_MINOR}"
            )
        start_bytes = header.length_bytes
        table = RecordTable(start_bytes)
        torn = yield from scan_slices(descriptor, table, file_bytes)
        if torn and torn.next_complete_offset_bytes is not None:
            raise RecordingError(
                f"{torn.reason}; this is damage in the middle, for a complete record stands at "
                f"byte {torn.next_complete_offset_bytes}; nothing was changed; what stands before "
                "the damage can be copied into a new recording"
            )
        if torn:
            os.ftruncate(descriptor, table.end_bytes)
        indexed = indexed_records(descriptor, start_bytes=start_bytes, end_bytes=table.end_bytes)
        return cls(path, descriptor, table, torn=torn, is_indexed=indexed is not None)

    def _append(
        self,
        kind: str,
        body: object,
        key: Mapping[str, object] | None,
        *,
        compress: bool | None = None,
    ) -> RecordEntry:
        self._check_open()
        with naming(self.path):
            key_packed = encode_key(key)
            record = encode_record(kind, body, key=key, compress=compress)
        if len(self._pending) + len(record) > limits.WRITE_BUFFER_BYTES:
            self.flush()  # before the record is taken, so that a failure leaves no doubt about it
        with naming(self.path):
            self._take(kind, record, key_packed)
            return self._table.entry(len(self._table) - 1)

    def _take(self, kind: str, record: bytes, key_packed: bytes) -> None:
        self._table.add(kind, length_bytes=len(record), key_packed=key_packed)
        self._pending += record
        self._is_indexed = False

    def _append_index(self) -> None:
        """Append index and trailer, unless they are there already or too large for a record."""
        if self._is_indexed:
            return
        try:
            index = encode_record(INDEX_KIND, self._table.to_body())
        except RecordingError:
            return  # some million records: without an index they are found by scanning
        frame = decode_frame(index)
        assert not isinstance(frame, Torn)  # it was just encoded
        trailer = Trailer(self._table.end_bytes, len(index), frame.crc32)
        self._take(INDEX_KIND, index, b"")
        self._take(TRAILER_KIND, encode_trailer(trailer), b"")
        self._is_indexed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise RecordingError(f"{self.path}: the recording is closed")

    def _safe_part(self) -> str:
        nr_safe = self._table.nr_records_before(self._written_bytes)
        return (
            f"the first {nr_safe} of {len(self._table)} records are in the file "
            f"({self._written_bytes} bytes), the rest is kept in memory for the next try"
        )


def _write_all(descriptor: int, data: bytes, at_bytes: int) -> None:
    done_bytes = 0
    while done_bytes < len(data):
        taken_bytes = os.pwrite(descriptor, data[done_bytes:], at_bytes + done_bytes)
        if not taken_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done_bytes += taken_bytes


@contextlib.contextmanager
def whole_recording(
    path: str | os.PathLike[str], header: Mapping[str, object], *, overwrite: bool = False
) -> Iterator[RecordingWriter]:
    """Write a recording that appears under its name complete, or not at all.

    Raises: RecordingError as RecordingWriter.create(); an error inside the block saves nothing.
    """
    target = Path(path)
    part = part_path(target)
    safe = "nothing was saved, nothing was replaced"
    with naming(target, safe=safe):
        check_may_replace(target, overwrite=overwrite)
        writer = RecordingWriter._begun(part, target, header)
    try:
        with writer:
            yield writer
        with naming(target, safe=safe):
            check_may_replace(target, overwrite=overwrite)
            replace_durably(part, target)
    finally:
        part.unlink(missing_ok=True)
