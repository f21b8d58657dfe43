"""Reading a text file that somebody hands us: plain or gzip, told apart by content, not by name.

    file ──64 KiB──▶ [gunzip] ──▶ no NUL? ──▶ cut at newlines ──▶ str, "\n" kept
                        │             │              │
                     damaged       binary         endless line      ... InputError, one line

At no time is more than one block and one line in memory, and the text ends at a limit, so that
neither a small file that unpacks to terabytes nor a pipe that never ends can hurt. A line keeps its
newline: only the last one can lack it, and then it may be torn.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

from snapshots.errors import InputError

TEXT_BYTES_MAX = 512 << 20
LINE_BYTES_MAX = 1 << 20
BLOCK_BYTES = 1 << 16
GZIP_MAGIC = b"\x1f\x8b"
GZIP_WINDOW_BITS = 31  # zlib: the largest window, with a gzip header

# How files that are no text begin, and what to do about them.
FOREIGN_MAGIC = (
    (b"\x17\x08\x44tracing", "a trace-cmd data file; expected text: run `trace-cmd report` on it"),
    (b"\xfd7zXZ\x00", "compressed with xz; expected text or gzip: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; expected text or gzip: unpack it first"),
    (b"BZh", "compressed with bzip2; expected text or gzip: unpack it first"),
    (b"PK\x03\x04", "a zip archive; expected text or gzip: unpack it first"),
)


def read_lines(path: Path | str, *, limit_bytes: int = TEXT_BYTES_MAX) -> Iterator[str]:
    r"""Yield the lines of a text file, each ending in "\n" except perhaps the last.

    Bytes that are no UTF-8 (a task may bear any name) become U+FFFD.
    Raises: InputError if the file cannot be read, is damaged or binary, or is too long.
    """
    rest = b""
    start_bytes = 0  # place of rest in the text
    for block in _checked_text(path, limit_bytes):
        pieces = (rest + block).split(b"\n")
        rest = pieces.pop()
        for piece in pieces:
            start_bytes += len(piece) + 1
            yield piece.removesuffix(b"\r").decode("utf-8", "replace") + "\n"
        if len(rest) > LINE_BYTES_MAX:
            raise InputError(
                f"{path}: the line at byte {start_bytes} of the text is longer than "
                f"{LINE_BYTES_MAX >> 20} MiB; expected a text of short lines"
            )
    if rest:
        yield rest.decode("utf-8", "replace")


def read_text(path: Path | str, *, limit_bytes: int = TEXT_BYTES_MAX) -> str:
    """Return the whole text of a small file.

    Raises: InputError as read_lines() does.
    """
    return "".join(read_lines(path, limit_bytes=limit_bytes))


def _checked_text(path: Path | str, limit_bytes: int) -> Iterator[bytes]:
    nr_bytes = 0
    for block in _unpacked(path, _blocks(path)):
        nul_at = block.find(0)
        if nul_at >= 0:
            raise InputError(
                f"{path}: byte {nr_bytes + nul_at} of the text is 0, so this is binary "
                "data; expected text or gzipped text"
            )
        nr_bytes += len(block)
        if nr_bytes > limit_bytes:
            raise InputError(
                f"{path}: more than {_size_text(limit_bytes)} of text; expected at most that: "
                "cut the file into pieces"
            )
        yield block


def _blocks(path: Path | str) -> Iterator[bytes]:
    """Yield the bytes of a file or pipe; devices and directories are refused."""
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise InputError(f"{path}: is a directory; expected a text file")
            if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
                raise InputError(f"{path}: is neither file nor pipe; expected a text file")
            os.set_blocking(descriptor, True)
            while block := file.read(BLOCK_BYTES):
                yield block
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; expected a text file") from error
    except ValueError as error:  # a NUL in the path
        raise InputError(f"{str(path)!r}: {error}; expected the path of a text file") from error


def _unpacked(path: Path | str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    first = next(blocks, b"")
    while 0 < len(first) < len(FOREIGN_MAGIC[0][0]):  # a pipe may give its first bytes one by one
        more = next(blocks, b"")
        if not more:
            break
        first += more
    for magic, advice in FOREIGN_MAGIC:
        if first.startswith(magic):
            raise InputError(f"{path}: this is {advice}")
    if first.startswith(GZIP_MAGIC):
        yield from _gunzipped(path, first, blocks)
    else:
        yield first
        yield from blocks


def _gunzipped(path: Path | str, first: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack gzip members one after the other; zero bytes after the last are padding."""
    member = zlib.decompressobj(GZIP_WINDOW_BITS)
    packed, packed_bytes, text_bytes = first, len(first), 0
    while True:
        try:
            text = member.decompress(packed, BLOCK_BYTES)
        except zlib.error as error:
            raise InputError(
                f"{path}: the gzip data is damaged before byte {packed_bytes}, after "
                f"{text_bytes} bytes of text ({error}); expected an intact file: copy it again"
            ) from error
        text_bytes += len(text)
        yield text
        packed = member.unconsumed_tail
        if member.eof:
            packed = member.unused_data.lstrip(b"\0")
            while not packed and (block := next(blocks, b"")):
                packed_bytes += len(block)
                packed = block.lstrip(b"\0")
            if not packed:
                return
            member = zlib.decompressobj(GZIP_WINDOW_BITS)
        elif not packed and len(text) < BLOCK_BYTES:
            packed = next(blocks, b"")
            packed_bytes += len(packed)
            if not packed:
                raise InputError(
                    f"{path}: the gzip data ends too early, at byte {packed_bytes} after "
                    f"{text_bytes} bytes of text; expected a complete file: copy it again"
                )


def _size_text(size_bytes: int) -> str:
    whole_mib, rest = divmod(size_bytes, 1 << 20)
    return f"{size_bytes} bytes" if rest else f"{whole_mib} MiB"
