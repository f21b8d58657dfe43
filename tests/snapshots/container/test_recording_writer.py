"""Writing: full disks, kills, second writers, going on where another stopped."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from snapshots.container import limits
from snapshots.container.recording_file import RecordingReader, RecordingWriter, whole_recording
from snapshots.container.records import encode_header, encode_record
from snapshots.errors import RecordingError

ROOT = Path(__file__).parents[3]
KILLED = """
import os, signal, sys
from snapshots.container.recording_file import RecordingWriter
writer = RecordingWriter.create(sys.argv[1], {})
writer.append("Events", 1)
writer.flush()
writer.append("Events", 2)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.kms"


@pytest.fixture
def file_size_limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def refuse_with(error_number: int) -> Callable[..., NoReturn]:
    def refuse(*_: object) -> NoReturn:
        raise OSError(error_number, os.strerror(error_number))

    return refuse


def steps_in(path: Path) -> list[object]:
    with RecordingReader.open(path) as reader:
        return [reader.read(entry) for entry in reader.records("Events")]


def write_steps(path: Path, *steps: int) -> None:
    with RecordingWriter.create(path, {"seed": 1}) as writer:
        for step in steps:
            writer.append("Events", step, {"step": step})


def test_a_record_is_in_the_file_after_a_flush_and_not_before(path: Path) -> None:
    writer = RecordingWriter.create(path, {})
    header_bytes = path.stat().st_size
    entry = writer.append("Events", 1)
    assert path.stat().st_size == header_bytes == entry.offset_bytes
    writer.flush()
    assert path.stat().st_size == header_bytes + entry.length_bytes
    assert steps_in(path) == [1]
    writer.close()


def test_a_full_buffer_is_written_without_being_asked(path: Path) -> None:
    with RecordingWriter.create(path, {}) as writer:
        header_bytes = path.stat().st_size
        for _ in range(3):
            writer.append("Events", b"x" * (limits.WRITE_BUFFER_BYTES // 2), compress=False)
        assert path.stat().st_size > header_bytes


def test_a_writer_that_is_killed_leaves_all_that_it_flushed(path: Path) -> None:
    words = [sys.executable, "-c", KILLED, str(path)]
    killed = subprocess.run(words, cwd=ROOT, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    with RecordingReader.open(path) as reader:
        assert not reader.is_indexed
        assert reader.torn is None
    assert steps_in(path) == [1]


def test_a_full_disk_is_told_with_what_is_safe_and_nothing_is_forgotten(path: Path) -> None:
    writer = RecordingWriter.create(path, {})
    writer.append("Events", 1)
    writer.flush()
    written_bytes = path.stat().st_size
    the_file = os.dup(writer.fileno())
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, writer.fileno())
    writer.append("Events", 2)
    with pytest.raises(RecordingError) as caught:
        writer.sync()
    assert str(caught.value) == (
        f"{path}: No space left on device; the first 1 of 2 records are in the file "
        f"({written_bytes} bytes), the rest is kept in memory for the next try"
    )
    os.dup2(the_file, writer.fileno())
    writer.close()
    assert steps_in(path) == [1, 2]
    os.close(full)
    os.close(the_file)


@pytest.mark.usefixtures("file_size_limit")
def test_a_write_that_was_taken_in_part_is_completed_later(path: Path) -> None:
    writer = RecordingWriter.create(path, {})
    _, hard_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    for step in range(20):
        writer.append("Events", [step] * 100, compress=False)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard_limit))
    with pytest.raises(RecordingError, match=r"File too large; the first 7 of 20 .*\(1000 bytes\)"):
        writer.flush()
    with RecordingReader.open(path) as reader:
        assert len(reader) == 7
        assert reader.torn is not None
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard_limit, hard_limit))
    writer.close()
    assert steps_in(path) == [[step] * 100 for step in range(20)]


def test_a_record_that_the_full_disk_refused_is_not_in_the_recording(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WRITE_BUFFER_BYTES", 30)
    writer = RecordingWriter.create(path, {})
    writer.append("Events", 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse_with(errno.ENOSPC))
        with pytest.raises(RecordingError, match="No space left"):
            writer.append("Events", 2)
    writer.append("Events", 3)
    writer.close()
    assert steps_in(path) == [1, 3]


def test_a_close_that_fails_still_closes_and_lets_others_write(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = RecordingWriter.create(path, {})
    writer.append("Events", 1)
    writer.flush()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse_with(errno.EIO))
        with pytest.raises(RecordingError, match="Input/output error; the first 1 of 3"):
            writer.close()
    with RecordingWriter.reopen(path) as again:
        again.append("Events", 2)
    assert steps_in(path) == [1, 2]


def test_a_closed_writer_takes_nothing(path: Path) -> None:
    writer = RecordingWriter.create(path, {})
    writer.close()
    writer.close()
    for use in (lambda: writer.append("Events", 1), lambda: writer.put_blob(b""), writer.sync):
        with pytest.raises(RecordingError, match="the recording is closed"):
            use()


def test_the_containers_own_kinds_cannot_be_appended(path: Path) -> None:
    with RecordingWriter.create(path, {}) as writer:
        for kind in ("Blob", "index", "trailer"):
            with pytest.raises(RecordingError, match="container's own"):
                writer.append(kind, None)


def test_what_cannot_be_recorded_leaves_the_recording_as_it_was(path: Path) -> None:
    with RecordingWriter.create(path, {}) as writer:
        writer.append("Events", 1)
        with pytest.raises(RecordingError, match=r"run\.kms: a record cannot carry"):
            writer.append("Events", object())
        writer.append("Events", 2)
    assert steps_in(path) == [1, 2]


def test_an_existing_recording_is_not_begun_anew(path: Path) -> None:
    write_steps(path, 1)
    with pytest.raises(RecordingError, match="exists already; it was not touched"):
        RecordingWriter.create(path, {})
    assert steps_in(path) == [1]


def test_overwriting_does_not_disturb_who_reads_the_old_one(path: Path) -> None:
    write_steps(path, 1)
    reader = RecordingReader.open(path)
    with RecordingWriter.create(path, {}, overwrite=True) as writer:
        writer.append("Events", 2)
    assert [reader.read(entry) for entry in reader.records("Events")] == [1]
    assert steps_in(path) == [2]
    assert list(path.parent.iterdir()) == [path]
    reader.close()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_directory_that_is_none_is_told_and_nothing_is_left(path: Path, overwrite: bool) -> None:
    path.write_bytes(b"a file")
    with pytest.raises(RecordingError, match=r"x\.kms: Not a directory; .*nothing was replaced"):
        RecordingWriter.create(path / "x.kms", {}, overwrite=overwrite)
    assert path.read_bytes() == b"a file"


@pytest.mark.usefixtures("file_size_limit")
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_header_that_does_not_fit_leaves_no_file(path: Path, overwrite: bool) -> None:
    _, hard_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard_limit))
    with pytest.raises(RecordingError, match=r"run\.kms: No space left on device; no recording"):
        RecordingWriter.create(path, {}, overwrite=overwrite)
    # Here and not at the end: pytest may write the test's dot to a file.
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard_limit, hard_limit))
    assert list(path.parent.iterdir()) == []


def test_two_writers_of_one_file_are_refused(path: Path) -> None:
    with RecordingWriter.create(path, {}) as writer:
        with pytest.raises(RecordingError, match="another writer"):
            RecordingWriter.reopen(path)
        with pytest.raises(RecordingError, match="another writer"):
            RecordingWriter.create(path, {}, overwrite=True)
        writer.append("Events", 1)
    assert steps_in(path) == [1]


def test_a_reopened_recording_goes_on_and_changes_no_byte_before(path: Path) -> None:
    write_steps(path, 1, 2)
    before = path.read_bytes()
    with RecordingWriter.reopen(path) as writer:
        assert writer.torn is None
        writer.append("Events", 3)
    assert path.read_bytes().startswith(before)
    assert steps_in(path) == [1, 2, 3]
    with RecordingReader.open(path) as reader:
        assert reader.is_indexed
        assert [entry.kind for entry in reader.records()] == [
            *("Events", "Events", "index", "trailer", "Events", "index", "trailer"),
        ]


def test_reopening_and_closing_changes_nothing(path: Path) -> None:
    write_steps(path, 1)
    before = path.read_bytes()
    RecordingWriter.reopen(path).close()
    assert path.read_bytes() == before


def test_a_torn_tail_is_cut_off_when_reopened_and_told(path: Path) -> None:
    write_steps(path, 1, 2)
    whole = path.read_bytes()
    with RecordingReader.open(path) as reader:
        second = list(reader.records("Events"))[1]
    for length_bytes in range(second.offset_bytes + 1, second.offset_bytes + second.length_bytes):
        path.write_bytes(whole[:length_bytes])
        with RecordingWriter.reopen(path) as writer:
            assert writer.torn is not None
            assert writer.torn.offset_bytes == second.offset_bytes
            writer.append("Events", 3)
        assert steps_in(path) == [1, 3]


def test_no_byte_of_a_long_torn_tail_stays_behind_what_is_appended(path: Path) -> None:
    write_steps(path, 1)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(5000))
    with RecordingWriter.reopen(path) as writer:
        assert path.read_bytes() == whole
        writer.append("Events", 2)
    with RecordingReader.open(path) as reader:
        assert reader.is_indexed
    assert steps_in(path) == [1, 2]


def test_damage_in_the_middle_is_refused_and_not_cut_off(path: Path) -> None:
    write_steps(path, 1, 2, 3)
    with RecordingReader.open(path) as reader:
        first, second, _ = reader.records("Events")
    damaged = bytearray(path.read_bytes())
    damaged[first.offset_bytes + first.length_bytes - 1] ^= 0x40
    path.write_bytes(damaged)
    expected = rf"damage in the middle, .* at byte {second.offset_bytes}; nothing was changed"
    with pytest.raises(RecordingError, match=expected):
        RecordingWriter.reopen(path)
    assert path.read_bytes() == damaged


def test_a_newer_minor_format_is_not_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snapshots.container.records.FORMAT_MINOR", 3)
    path.write_bytes(encode_header({}) + encode_record("Events", 1))
    assert steps_in(path) == [1]
    with pytest.raises(RecordingError, match=r"format 1\.3 can be read here, but continued only"):
        RecordingWriter.reopen(path)


def test_a_recording_too_long_for_an_index_is_found_by_scanning(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BODY_BYTES_MAX", 100)
    write_steps(path, *range(20))
    with RecordingReader.open(path) as reader:
        assert not reader.is_indexed
        assert reader.torn is None
    assert steps_in(path) == list(range(20))


def test_a_recording_written_whole_is_there_only_when_complete(path: Path) -> None:
    with whole_recording(path, {}) as writer:
        writer.append("Events", 1)
        writer.sync()
        assert not path.exists()
    assert steps_in(path) == [1]
    assert list(path.parent.iterdir()) == [path]


def test_an_error_while_writing_whole_keeps_the_old_recording(path: Path) -> None:
    write_steps(path, 1)
    with (
        pytest.raises(ZeroDivisionError),
        whole_recording(path, {}, overwrite=True) as writer,
    ):
        writer.append("Events", 2)
        raise ZeroDivisionError
    assert steps_in(path) == [1]
    assert list(path.parent.iterdir()) == [path]


def test_a_rename_that_is_refused_keeps_the_old_recording(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_steps(path, 1)
    monkeypatch.setattr(Path, "replace", refuse_with(errno.EROFS))
    with (
        pytest.raises(RecordingError, match=r"run\.kms: Read-only file system; nothing was saved"),
        whole_recording(path, {}, overwrite=True) as writer,
    ):
        writer.append("Events", 2)
    with pytest.raises(RecordingError, match="Read-only file system; no recording was begun"):
        RecordingWriter.create(path, {}, overwrite=True)
    assert steps_in(path) == [1]
    assert list(path.parent.iterdir()) == [path]


def test_a_recording_that_appeared_meanwhile_is_not_replaced(path: Path) -> None:
    with (
        pytest.raises(RecordingError, match="exists already"),
        whole_recording(path, {}) as writer,
    ):
        writer.append("Events", 2)
        write_steps(path, 1)
    assert steps_in(path) == [1]
