"""Records: the pieces that a recording is made of. Pure: bytes in, values out, and back.

A record is one msgpack array whose fields always have the same width, so that a reader knows where
it ends before it believes a word of it:

    95  a0+n kind…  cc flags  ce crc32    c4 k key…  c6 length    body…
    │   └ n chars   └ 1 byte  └ 4 bytes   └ 0-255    └ 4 bytes    └ msgpack, perhaps deflated
    └ array of five

    a file:  header │ record │ record │ … │ index │ trailer

The checksum covers every byte of the record but its own four. The header has the same build, with
the format's version where a record has flags. Ints stand big-endian, as everywhere in msgpack.

A kind that begins with a capital is *critical*: who does not know it cannot make sense of the file.
Others may be skipped. So kinds can be added without a new format (the idea is PNG's).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from snapshots.container import limits
from snapshots.container.body import pack_body, unpack_body
from snapshots.errors import RecordingError

FORMAT_MAJOR = 1  # another major: a reader of this one cannot read it
FORMAT_MINOR = 0  # a higher minor: only additions that a reader may ignore

FLAG_ZLIB = 0x01  # the body is deflated (zlib, RFC 1950)
ZLIB_LEVEL = 1  # half of the gain for a tenth of the time

KIND_PATTERN = re.compile(rf"[A-Za-z][a-z0-9_]{{0,{limits.KIND_CHARS_MAX - 1}}}")

_MAGIC = b"\x95\xa9kmemscope"
_MAJOR = struct.Struct(">BH")  # cd major
_VERSION_AND_CRC = struct.Struct(">BHBHBI")  # cd major, cd minor, ce crc32
_FLAGS_AND_CRC = struct.Struct(">BBBI")  # cc flags, ce crc32
_KEY_HEAD = struct.Struct(">BB")  # c4 length
_BODY_HEAD = struct.Struct(">BI")  # c6 length
_CRC_BYTES = 4
_ARRAY_OF_FIVE, _FIXSTR, _UINT8, _UINT16, _UINT32 = 0x95, 0xA0, 0xCC, 0xCD, 0xCE
_BIN8, _BIN32 = 0xC4, 0xC6


@dataclass(frozen=True, slots=True)
class Header:
    """The first record of a file: which format this is, and what the writer says of the file."""

    major: int
    minor: int
    fields: dict[str, object]
    length_bytes: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A record whose checksum was right, its key and body still packed."""

    kind: str
    flags: int
    key_packed: bytes
    stored_body: bytes
    offset_bytes: int
    length_bytes: int
    crc32: int


@dataclass(frozen=True, slots=True)
class Record:
    """A record, unpacked."""

    kind: str
    key: dict[str, object]
    body: object
    offset_bytes: int
    length_bytes: int


@dataclass(frozen=True, slots=True)
class Torn:
    """The bytes end before the record does; needed_bytes is its length as far as it is known."""

    offset_bytes: int
    available_bytes: int
    needed_bytes: int

    @property
    def reason(self) -> str:
        """Say what is missing, for a message."""
        return (
            f"byte {self.offset_bytes}: the record ends after {self.available_bytes} "
            f"of at least {self.needed_bytes} bytes"
        )


def is_critical(kind: str) -> bool:
    """Return whether a reader must know this kind to make sense of the file."""
    return kind[:1].isupper()


def encode_header(fields: Mapping[str, object]) -> bytes:
    """Return the first record of a file of this format."""
    body = pack_body(_checked_fields(dict(fields), "header"))
    if len(body) > limits.HEADER_BYTES_MAX:
        raise RecordingError(
            f"the header has {len(body)} bytes, at most {limits.HEADER_BYTES_MAX} are allowed"
        )
    version = struct.pack(">BHBHB", _UINT16, FORMAT_MAJOR, _UINT16, FORMAT_MINOR, _UINT32)
    return _with_crc32(_MAGIC + version, _BODY_HEAD.pack(_BIN32, len(body)) + body)


def decode_header(buffer: bytes) -> Header:
    """Return the header at the start of the bytes.

    Raises: RecordingError if this is no recording, a damaged one, or one of a newer major format.
    """
    if not buffer.startswith(_MAGIC):
        raise RecordingError(
            "byte 0: this is not a kmemscope recording (its first 11 bytes differ)"
        )
    place = len(_MAGIC)
    if len(buffer) >= place + _MAJOR.size:
        marker, major = _MAJOR.unpack_from(buffer, place)
        if marker == _UINT16 and major != FORMAT_MAJOR:  # before all else: its layout is unknown
            raise RecordingError(
                f"byte {place + 1}: format {major} of a recording, this kmemscope reads format "
                f"{FORMAT_MAJOR}; open it with the kmemscope that wrote it or a newer one"
            )
    body_place = place + _VERSION_AND_CRC.size + _BODY_HEAD.size
    if len(buffer) < body_place:
        raise RecordingError(f"byte 0: the header is cut off after {len(buffer)} bytes")
    at_version, major, at_minor, minor, at_crc, crc = _VERSION_AND_CRC.unpack_from(buffer, place)
    at_body, body_bytes = _BODY_HEAD.unpack_from(buffer, place + _VERSION_AND_CRC.size)
    end = body_place + body_bytes
    if (at_version, at_minor, at_crc, at_body) != (_UINT16, _UINT16, _UINT32, _BIN32):
        raise RecordingError(f"byte {place}: the header's fields are not those of format 1")
    if body_bytes > limits.HEADER_BYTES_MAX:
        raise RecordingError(
            f"byte {body_place}: the header claims {body_bytes} bytes, "
            f"at most {limits.HEADER_BYTES_MAX} are allowed"
        )
    if len(buffer) < end:
        raise RecordingError(f"byte 0: the header is cut off after {len(buffer)} of {end} bytes")
    _check_crc32(buffer, 0, place + _VERSION_AND_CRC.size - _CRC_BYTES, end, crc, 0)
    with_place = _unpack_at(buffer[body_place:end], body_place)
    return Header(major, minor, _checked_fields(with_place, f"byte {body_place}: header"), end)


def encode_key(key: Mapping[str, object] | None) -> bytes:
    """Return a key as it stands in a record; no key and an empty one are both no bytes."""
    if not key:
        return b""
    packed = pack_body(_checked_fields(dict(key), "key"))
    if len(packed) > limits.KEY_BYTES_MAX:
        raise RecordingError(
            f"the key has {len(packed)} bytes, at most {limits.KEY_BYTES_MAX} are allowed"
        )
    return packed


def decode_key(packed: bytes, *, offset_bytes: int) -> dict[str, object]:
    """Return the key of the record at an offset; the offset is only for messages."""
    if not packed:
        return {}
    return _checked_fields(_unpack_at(packed, offset_bytes), f"byte {offset_bytes}: key")


def encode_record(
    kind: str,
    body: object,
    *,
    key: Mapping[str, object] | None = None,
    compress: bool | None = None,
) -> bytes:
    """Return one record.

    compress: True and False mean what they say; None deflates where that makes it shorter.
    Raises: RecordingError if the kind, the key or the body cannot be recorded.
    """
    if not KIND_PATTERN.fullmatch(kind):
        raise RecordingError(
            f"a record cannot be of kind {kind!r}: a letter, then at most "
            f"{limits.KIND_CHARS_MAX - 1} of a-z, 0-9 and _"
        )
    key_packed = encode_key(key)
    flags, stored = _deflated(pack_body(body), compress)
    return frame_record(kind, flags=flags, key_packed=key_packed, stored_body=stored)


def frame_record(kind: str, *, flags: int, key_packed: bytes, stored_body: bytes) -> bytes:
    """Return one record around a key and a body that are packed already."""
    before = struct.pack(">BB", _ARRAY_OF_FIVE, _FIXSTR + len(kind)) + kind.encode("ascii")
    before += struct.pack(">BBB", _UINT8, flags, _UINT32)
    after = _KEY_HEAD.pack(_BIN8, len(key_packed)) + key_packed
    after += _BODY_HEAD.pack(_BIN32, len(stored_body)) + stored_body
    return _with_crc32(before, after)


def decode_record(buffer: bytes, offset_bytes: int = 0) -> Record | Torn:
    """Return the record at an offset, or Torn if the bytes end before it does.

    Raises: RecordingError with the byte offset if what stands there cannot be believed.
    """
    frame = decode_frame(buffer, offset_bytes)
    if isinstance(frame, Torn):
        return frame
    return unpacked_record(frame)


def decode_frame(buffer: bytes, offset_bytes: int = 0, *, base_bytes: int = 0) -> Frame | Torn:
    """Return the record at an offset with key and body still packed: what a scan needs.

    base_bytes: where the buffer begins in the file; added to offsets that are reported.
    Raises: RecordingError if no record stands there or its checksum is wrong.
    """
    at = base_bytes + offset_bytes
    available_bytes = len(buffer) - offset_bytes
    kind_at = offset_bytes + 2
    if available_bytes < 2:
        if available_bytes == 1 and buffer[offset_bytes] != _ARRAY_OF_FIVE:
            raise RecordingError(f"byte {at}: no record begins with {buffer[offset_bytes]:#04x}")
        return Torn(at, available_bytes, 2)
    kind_chars = buffer[offset_bytes + 1] - _FIXSTR
    if buffer[offset_bytes] != _ARRAY_OF_FIVE or not 1 <= kind_chars <= limits.KIND_CHARS_MAX:
        found = buffer[offset_bytes:kind_at].hex(" ")
        raise RecordingError(f"byte {at}: no record begins with {found}")
    flags_at = kind_at + kind_chars
    key_at = flags_at + _FLAGS_AND_CRC.size + _KEY_HEAD.size
    if len(buffer) < key_at:
        return Torn(at, available_bytes, key_at - offset_bytes)
    at_flags, flags, at_crc, crc = _FLAGS_AND_CRC.unpack_from(buffer, flags_at)
    at_key, key_bytes = _KEY_HEAD.unpack_from(buffer, flags_at + _FLAGS_AND_CRC.size)
    kind = buffer[kind_at:flags_at].decode("latin-1")
    if not KIND_PATTERN.fullmatch(kind) or (at_flags, at_crc, at_key) != (_UINT8, _UINT32, _BIN8):
        raise RecordingError(
            f"byte {at}: the fields of a record are expected here, not these bytes"
        )
    body_at = key_at + key_bytes + _BODY_HEAD.size
    if len(buffer) < body_at:
        return Torn(at, available_bytes, body_at - offset_bytes)
    at_body, body_bytes = _BODY_HEAD.unpack_from(buffer, key_at + key_bytes)
    if at_body != _BIN32 or body_bytes > limits.BODY_BYTES_MAX:
        raise RecordingError(
            f"byte {at}: the body of {kind!r} should be bin 32 of at most {limits.BODY_BYTES_MAX} "
            f"bytes, found {at_body:#04x} and length {body_bytes}"
        )
    end = body_at + body_bytes
    if len(buffer) < end:
        return Torn(at, available_bytes, end - offset_bytes)
    crc_at = flags_at + _FLAGS_AND_CRC.size - _CRC_BYTES
    _check_crc32(buffer, offset_bytes, crc_at, end, crc, base_bytes)
    key_packed = buffer[key_at : key_at + key_bytes]
    return Frame(kind, flags, key_packed, buffer[body_at:end], at, end - offset_bytes, crc)


def unpacked_record(frame: Frame) -> Record:
    """Return a record with its key and body. Raises: RecordingError with the byte offset."""
    key = decode_key(frame.key_packed, offset_bytes=frame.offset_bytes)
    body = _unpack_at(_inflated_body(frame), frame.offset_bytes)
    return Record(frame.kind, key, body, frame.offset_bytes, frame.length_bytes)


def _inflated_body(frame: Frame) -> bytes:
    """Return the packed body of a record, inflated no further than a body may be long."""
    at = frame.offset_bytes
    if frame.flags & ~FLAG_ZLIB:
        raise RecordingError(
            f"byte {at}: record {frame.kind!r} has flags {frame.flags:#04x}, only "
            f"{FLAG_ZLIB:#04x} is known; a newer kmemscope may read it"
        )
    if not frame.flags & FLAG_ZLIB:
        return frame.stored_body
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(frame.stored_body, limits.BODY_BYTES_MAX + 1)
    except zlib.error as error:
        raise RecordingError(f"byte {at}: the body of {frame.kind!r}: {error}") from error
    if len(body) > limits.BODY_BYTES_MAX:
        raise RecordingError(
            f"byte {at}: the body of {frame.kind!r} inflates to more than "
            f"{limits.BODY_BYTES_MAX} bytes"
        )
    if not inflater.eof or inflater.unused_data:
        raise RecordingError(f"byte {at}: the body of {frame.kind!r} is not one whole zlib stream")
    return body


def _deflated(packed: bytes, compress: bool | None) -> tuple[int, bytes]:
    """Return the flags of a body and the body as it is stored."""
    if compress is False or (compress is None and len(packed) < limits.COMPRESS_BYTES_MIN):
        return 0, packed
    deflated = zlib.compress(packed, ZLIB_LEVEL)
    if len(deflated) > limits.BODY_BYTES_MAX or (compress is None and len(deflated) >= len(packed)):
        return 0, packed
    return FLAG_ZLIB, deflated


def _with_crc32(before: bytes, after: bytes) -> bytes:
    crc = zlib.crc32(after, zlib.crc32(before))
    return b"".join((before, crc.to_bytes(_CRC_BYTES, "big"), after))


def _check_crc32(
    buffer: bytes, start: int, crc_at: int, end: int, expected: int, base_bytes: int
) -> None:
    """Compare the checksum of buffer[start:end], its own four bytes at crc_at left out."""
    view = memoryview(buffer)
    found = zlib.crc32(view[crc_at + _CRC_BYTES : end], zlib.crc32(view[start:crc_at]))
    if found != expected:
        raise RecordingError(
            f"byte {base_bytes + start}: the checksum of these {end - start} bytes is "
            f"{found:#010x}, the record says {expected:#010x}: they were damaged"
        )


def _unpack_at(packed: bytes, offset_bytes: int) -> object:
    """Unpack a body and name its place if that fails."""
    try:
        return unpack_body(packed)
    except RecordingError as error:
        raise RecordingError(f"byte {offset_bytes}: {error}") from error


def _checked_fields(value: object, what: str) -> dict[str, object]:
    """Return the value if it is a map whose keys are all names."""
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise RecordingError(f"{what}: a map from names to values is expected")
    return value
