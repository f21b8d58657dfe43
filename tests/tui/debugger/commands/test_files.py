from __future__ import annotations

from pathlib import Path

import pytest

from snapshots.recording import open_recording
from snapshots.state_codec import state_digest
from tui.debugger.errors import CommandError
from tui.debugger.session import Session


def test_a_recording_is_saved_and_not_replaced_unless_forced(
    session: Session, tell, tmp_path: Path
) -> None:
    path = tmp_path / "run.kms"
    path.write_text("mine")
    with pytest.raises(CommandError, match="exists"):
        tell("alloc 0 64", f"save {path}")
    assert path.read_text() == "mine"
    tell(f"save {path} force")
    assert open_recording(path).timeline.nr_inputs == 1


def test_the_file_one_has_saved_to_is_appended_to(session: Session, tell, tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    tell("alloc 0 64", f"save {path}")
    first = path.read_bytes()
    tell("save")
    assert path.read_bytes() == first
    tell("alloc 0 64", "back 3", "bookmark here", "alloc 1 64")
    for line in ("save", f"save {path}"):
        assert tell(line).lines == (f"saved {session.end_step} steps to {path}",)
        assert path.read_bytes().startswith(first)
    opened = open_recording(path)
    assert list(opened.tree.branches) == [0, 1]
    assert opened.bookmarks == session.bookmarks
    tell(f"save {path} force")  # written anew, it is shorter
    assert not path.read_bytes().startswith(first)
    assert list(open_recording(path).tree.branches) == [0, 1]


def test_another_file_is_written_whole_and_the_first_stays_the_one(
    session: Session, tell, tmp_path: Path
) -> None:
    first, other = tmp_path / "first.kms", tmp_path / "other.kms"
    tell("alloc 0 64", f"save {first}", "alloc 0 64", f"save {other}", "alloc 0 64", "save")
    assert [open_recording(path).timeline.nr_inputs for path in (first, other)] == [3, 2]


def test_a_session_that_came_from_no_file_is_asked_for_one(session: Session, tell) -> None:
    with pytest.raises(CommandError, match=r"give a FILE\.kms"):
        tell("alloc 0 64", "save")


def test_saving_where_nothing_can_be_saved_is_told(session: Session, tell, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="save"):
        tell(f"save {tmp_path / 'no' / 'where.kms'}")
    with pytest.raises(CommandError):
        tell(f"save {tmp_path / ('x' * 400)}")


def test_what_was_saved_is_what_was_there(busy: Session, tell, tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    tell(f"save {path}")
    timeline = open_recording(path).timeline
    for step in (0, busy.end_step // 2, busy.end_step):
        busy.go_now(step)
        timeline.seek(step)
        assert state_digest(timeline.machine) == busy.digest()


def test_check_names_what_disagrees(busy: Session, tell) -> None:
    assert tell("check").ok
    busy.machine.percpu.chunks[0].free_bytes -= 4
    output = tell("check")
    assert not output.ok and "free" in output.lines[0]
