"""Opening files so that nothing is lost and no other writer is disturbed.

A file that is written whole appears under its name complete or not at all:

    .run.kms.3f9c.part ── write ── fsync ── rename ──▶ run.kms

The rename replaces an older file in one step; whoever has that one open keeps reading it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from snapshots.errors import RecordingError

LOCK_TRIES = 3
LOCK_PAUSE_S = 0.002
_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def naming(path: Path, safe: str = "") -> Iterator[None]:
    """Give every error inside the file's name, and say what is safe if the system refused."""
    try:
        yield
    except RecordingError as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise RecordingError(f"{path}: {error}") from error
    except OSError as error:
        what = error.strerror or str(error)
        raise RecordingError(f"{path}: {what}" + (f"; {safe}" if safe else "")) from error


def open_to_read(path: Path) -> tuple[int, int]:
    """Return a descriptor of a regular file and its length in bytes now."""
    return _opened(path, os.O_RDONLY, must_lock=False)


def open_to_append(path: Path) -> tuple[int, int]:
    """Return a locked descriptor of an existing regular file and its length in bytes."""
    return _opened(path, os.O_RDWR, must_lock=True)


def create_new(path: Path) -> int:
    """Return a locked descriptor of a file that did not exist before."""
    descriptor, _ = _opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, must_lock=True)
    return descriptor


def part_path(path: Path) -> Path:
    """Return a name beside the file, on the same file system, that nobody else uses.

    Raises: RecordingError for what has no name, as `.` and `/`.
    """
    if not path.name:
        raise RecordingError("this names no file; expected one as in FILE.kms")
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def check_may_replace(path: Path, *, overwrite: bool) -> None:
    """Refuse to replace what is no regular file, or is being written, or was not to be replaced."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not overwrite:
        raise RecordingError("the file exists already; it was not touched")
    if not stat.S_ISREG(mode):
        raise RecordingError("this is no regular file; it was not touched")
    descriptor, _ = _opened(path, os.O_RDONLY, must_lock=True)
    os.close(descriptor)


def replace_durably(part: Path, path: Path) -> None:
    """Give a complete file its final name, so that a power cut leaves the old one or this one."""
    part.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make a new name durable, where the system can."""
    with contextlib.suppress(OSError):  # some file systems know no fsync of a directory
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _opened(path: Path, flags: int, *, must_lock: bool) -> tuple[int, int]:
    """Return a descriptor of a regular file and its length; never wait for a named pipe."""
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise RecordingError("a recording is a regular file, this is none")
        if must_lock:
            _lock(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status.st_size


def is_locked(descriptor: int) -> bool:
    """Say whether a writer holds this file; without locks in the file system, that none does."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _lock(descriptor: int) -> None:
    """Become the one writer, as far as the file system knows locks."""
    for tries_left in range(LOCK_TRIES - 1, -1, -1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if not tries_left:
                raise RecordingError(
                    "another writer has this recording open; it was not touched"
                ) from error
            time.sleep(LOCK_PAUSE_S)  # somebody may only have asked whether it is locked
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise
            return
        else:
            return
