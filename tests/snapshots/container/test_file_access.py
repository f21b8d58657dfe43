"""File access: one writer, regular files only, names that appear whole."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from snapshots.container.file_access import (
    check_may_replace,
    create_new,
    naming,
    open_to_append,
    open_to_read,
    part_path,
    replace_durably,
)
from snapshots.errors import RecordingError


def test_an_error_gets_the_name_of_the_file_once() -> None:
    path = Path("run.kms")
    with pytest.raises(RecordingError) as caught, naming(path), naming(path):
        raise RecordingError("byte 7: damaged")
    assert str(caught.value) == "run.kms: byte 7: damaged"


def test_what_the_system_says_is_told_with_what_is_safe() -> None:
    with pytest.raises(RecordingError) as caught, naming(Path("run.kms"), safe="all is well"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(caught.value) == "run.kms: No space left on device; all is well"


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    first = create_new(path)
    with pytest.raises(RecordingError, match="another writer"):
        open_to_append(path)
    os.close(first)
    second, length_bytes = open_to_append(path)
    assert length_bytes == 0
    os.close(second)


def test_a_reader_needs_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    writer = create_new(path)
    reader, _ = open_to_read(path)
    os.close(reader)
    os.close(writer)


def test_a_file_system_without_locks_is_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    descriptor = create_new(tmp_path / "run.kms")
    assert os.write(descriptor, b"x") == 1
    os.close(descriptor)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_only_a_regular_file_is_opened(tmp_path: Path, make: object) -> None:
    path = tmp_path / "strange"
    assert callable(make)
    make(path)
    with pytest.raises(RecordingError, match="regular file"):
        open_to_read(path)
    with pytest.raises(RecordingError, match="no regular file"):
        check_may_replace(path, overwrite=True)


def test_a_file_that_is_refused_is_not_left_open(tmp_path: Path) -> None:
    nr_before = len(list(Path("/proc/self/fd").iterdir()))
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises((RecordingError, OSError)):
            open_to_read(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == nr_before


def test_a_device_is_never_replaced() -> None:
    with pytest.raises(RecordingError, match="no regular file"):
        check_may_replace(Path("/dev/null"), overwrite=True)


def test_an_existing_file_is_replaced_only_when_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    check_may_replace(path, overwrite=False)
    path.write_bytes(b"old")
    check_may_replace(path, overwrite=True)
    with pytest.raises(RecordingError, match="exists already"):
        check_may_replace(path, overwrite=False)


def test_a_file_that_is_being_written_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    writer = create_new(path)
    with pytest.raises(RecordingError, match="another writer"):
        check_may_replace(path, overwrite=True)
    os.close(writer)


def test_a_part_file_lies_beside_its_file_and_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    path.write_bytes(b"old")
    part = part_path(path)
    assert part.parent == path.parent
    assert part != part_path(path)
    part.write_bytes(b"new")
    replace_durably(part, path)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("path", [".", "/"])
def test_what_has_no_name_is_no_file_to_write(path: str) -> None:
    with pytest.raises(RecordingError, match="names no file"):
        part_path(Path(path))
