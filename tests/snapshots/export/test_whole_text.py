"""A text is there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snapshots.errors import RecordingError
from snapshots.export.whole_text import write_whole_text


def pieces_that_break() -> Iterator[str]:
    yield "first"
    raise RecordingError("the run ends here")


def test_a_text_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    assert write_whole_text(path, iter(["a\n", "", "ü\n"])) == 5
    assert path.read_text() == "a\nü\n"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_there_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(RecordingError, match="the run ends here"):
        write_whole_text(path, pieces_that_break())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_whole_text(path, ["new"])
    assert path.read_text() == "new"


def test_what_must_not_be_replaced_is_not(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(RecordingError, match=r"out\.txt: the file exists already"):
        write_whole_text(path, ["new"], overwrite=False)
    with pytest.raises(RecordingError, match="no regular file"):
        write_whole_text(tmp_path, ["new"])
    with pytest.raises(RecordingError, match="No such file"):
        write_whole_text(tmp_path / "nowhere" / "out.txt", ["new"])
    assert path.read_text() == "old"


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("snapshots.export.whole_text.os.fsync", refuse)
    with pytest.raises(RecordingError, match="No space left on device; nothing was saved"):
        write_whole_text(tmp_path / "out.txt", ["x"])
    assert list(tmp_path.iterdir()) == []
