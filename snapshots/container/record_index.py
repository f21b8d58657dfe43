"""The index: where every record of a file begins, by kind, without reading one of them.

The table below is what a reader and a writer both keep, the index record is its copy at the end of
a file, and the trailer, always 43 bytes long, says where that copy is:

    header │ record 0 │ record 1 │ …  │ record n-1 │ index │ trailer
                                                     ▲          │
                                                     └──────────┘
Records lie end to end, so their lengths are their places; an index whose lengths do not add up to
its own place is wrong and not used. Columns are packed, not lists, so that a million records open
in the time of a few slices. The index is a convenience: a scan finds the same table.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from snapshots.container import limits
from snapshots.container.records import (
    KIND_PATTERN,
    Frame,
    Torn,
    decode_frame,
    decode_key,
    frame_record,
)
from snapshots.errors import RecordingError

INDEX_KIND = "index"  # neither is critical: whoever does not know them scans
TRAILER_KIND = "trailer"

_TRAILER_BODY = struct.Struct(">BBQBIBI")  # 93, cf offset, ce length, ce crc32
_ARRAY_OF_THREE, _UINT64, _UINT32 = 0x93, 0xCF, 0xCE
TRAILER_BYTES = 43
_RECORD_BYTES_MIN = 17  # a kind of one character, no key, no body


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """One record of a file, as far as the index knows it."""

    number: int
    kind: str
    offset_bytes: int
    length_bytes: int
    key: dict[str, object]


@dataclass(frozen=True, slots=True)
class Trailer:
    """Where the index of a file is, and the checksum that it should have."""

    index_offset_bytes: int
    index_length_bytes: int
    index_crc32: int


class RecordTable:
    """Kind, place and key of all records of a file, in columns."""

    def __init__(self, first_offset_bytes: int) -> None:
        self.kinds: list[str] = []
        self._kind_numbers = bytearray()
        self._offsets = [first_offset_bytes]  # one more than there are records: the end
        self._keys: list[bytes] = []

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def end_bytes(self) -> int:
        """Return where the next record will begin."""
        return self._offsets[-1]

    def add(self, kind: str, *, length_bytes: int, key_packed: bytes) -> None:
        """Enter the record that follows the last one."""
        if kind not in self.kinds:
            if len(self.kinds) == limits.KINDS_MAX:
                raise RecordingError(
                    f"byte {self.end_bytes}: {kind!r} is one kind too many, "
                    f"a recording has at most {limits.KINDS_MAX}"
                )
            self.kinds.append(kind)
        self._kind_numbers.append(self.kinds.index(kind))
        self._keys.append(key_packed)
        self._offsets.append(self.end_bytes + length_bytes)

    def entry(self, number: int) -> RecordEntry:
        """Return one record's entry. Raises: RecordingError if its key is no key."""
        start = self._offsets[number]
        return RecordEntry(
            number,
            self.kinds[self._kind_numbers[number]],
            start,
            self._offsets[number + 1] - start,
            decode_key(self._keys[number], offset_bytes=start),
        )

    def entries(self, kind: str | None = None) -> Iterator[RecordEntry]:
        """Go through all records, or those of one kind, in the order of the file."""
        if kind is None:
            for number in range(len(self)):
                yield self.entry(number)
        elif kind in self.kinds:
            kind_number = self.kinds.index(kind)
            number = self._kind_numbers.find(kind_number)
            while number >= 0:
                yield self.entry(number)
                number = self._kind_numbers.find(kind_number, number + 1)

    def numbers_by_key(self, kind: str) -> dict[bytes, int]:
        """Return the records of one kind by their packed keys; of equal keys the last one."""
        if kind not in self.kinds:
            return {}
        kind_number = self.kinds.index(kind)
        pairs = zip(self._kind_numbers, self._keys, strict=True)
        return {key: number for number, (own, key) in enumerate(pairs) if own == kind_number}

    def describes(self, entry: RecordEntry, frame: Frame) -> bool:
        """Return whether a record that was read is the one that the table has for an entry."""
        number = entry.number
        return (
            0 <= number < len(self)
            and entry.offset_bytes == frame.offset_bytes == self._offsets[number]
            and frame.offset_bytes + frame.length_bytes == self._offsets[number + 1]
            and frame.kind == self.kinds[self._kind_numbers[number]]
            and frame.key_packed == self._keys[number]
        )

    def nr_records_before(self, offset_bytes: int) -> int:
        """Return how many records end at or before an offset."""
        return max(0, bisect_right(self._offsets, offset_bytes) - 1)

    def to_body(self) -> dict[str, object]:
        """Return the table as the body of an index record."""
        starts, ends = self._offsets[:-1], self._offsets[1:]
        lengths = [end - start for start, end in zip(starts, ends, strict=True)]
        return {
            "kinds": list(self.kinds),
            "kind_numbers": bytes(self._kind_numbers),
            "lengths": struct.pack(f">{len(lengths)}I", *lengths),
            "key_lengths": bytes(map(len, self._keys)),
            "keys": b"".join(self._keys),
        }

    @classmethod
    def from_body(cls, body: object, *, start_bytes: int, end_bytes: int) -> RecordTable:
        """Return the table of the records between two offsets.

        Raises: RecordingError if the body is no index, or not one of exactly these bytes.
        """
        at = f"byte {end_bytes}: the index"
        kinds = _kinds_of(body, at)
        kind_numbers = _column_of(body, "kind_numbers", at)
        packed_lengths = _column_of(body, "lengths", at)
        key_lengths = _column_of(body, "key_lengths", at)
        keys = _column_of(body, "keys", at)
        if not len(kind_numbers) == len(key_lengths) == len(packed_lengths) / 4:
            raise RecordingError(f"{at} has columns of different lengths")
        if kind_numbers and max(kind_numbers) >= len(kinds):
            raise RecordingError(f"{at} names a kind that it does not list")
        lengths = struct.unpack(f">{len(kind_numbers)}I", packed_lengths)
        too_short = bool(lengths) and min(lengths) < _RECORD_BYTES_MIN
        if too_short or start_bytes + sum(lengths) != end_bytes:
            raise RecordingError(f"{at} does not cover the bytes from {start_bytes} up to itself")
        if sum(key_lengths) != len(keys):
            raise RecordingError(f"{at} has {len(keys)} bytes of keys, not {sum(key_lengths)}")
        table = cls(start_bytes)
        table.kinds = kinds
        table._kind_numbers = bytearray(kind_numbers)
        table._offsets = list(accumulate(lengths, initial=start_bytes))
        key_ends = accumulate(key_lengths)
        table._keys = [
            keys[end - length : end] for end, length in zip(key_ends, key_lengths, strict=True)
        ]
        return table


def encode_trailer(trailer: Trailer) -> bytes:
    """Return the last record of a file; its ints have a fixed width, so that it has one, too."""
    body = _TRAILER_BODY.pack(
        *(_ARRAY_OF_THREE, _UINT64, trailer.index_offset_bytes),
        *(_UINT32, trailer.index_length_bytes, _UINT32, trailer.index_crc32),
    )
    return frame_record(TRAILER_KIND, flags=0, key_packed=b"", stored_body=body)


def decode_trailer(last_bytes: bytes) -> Trailer | None:
    """Return the trailer in the last 43 bytes of a file, or None if they are none."""
    try:
        frame = decode_frame(last_bytes)
    except RecordingError:
        return None
    if isinstance(frame, Torn) or frame.kind != TRAILER_KIND or frame.flags:
        return None
    if len(frame.stored_body) != _TRAILER_BODY.size or frame.length_bytes != len(last_bytes):
        return None
    array, at_offset, offset, at_length, length, at_crc, crc = _TRAILER_BODY.unpack(
        frame.stored_body
    )
    if (array, at_offset, at_length, at_crc) != (_ARRAY_OF_THREE, _UINT64, _UINT32, _UINT32):
        return None
    return Trailer(offset, length, crc)


def _kinds_of(body: object, at: str) -> list[str]:
    kinds = body.get("kinds") if isinstance(body, dict) else None
    if not isinstance(kinds, list) or len(kinds) > limits.KINDS_MAX:
        raise RecordingError(f"{at} has no list of at most {limits.KINDS_MAX} kinds")
    for kind in kinds:
        if not isinstance(kind, str) or not KIND_PATTERN.fullmatch(kind):
            raise RecordingError(f"{at} lists {kind!r}, which is no kind of record")
    if len(set(kinds)) != len(kinds):
        raise RecordingError(f"{at} lists a kind twice")
    return kinds


def _column_of(body: object, name: str, at: str) -> bytes:
    column = body.get(name) if isinstance(body, dict) else None
    if not isinstance(column, bytes):
        raise RecordingError(f"{at} has no column {name!r} of bytes")
    return column
