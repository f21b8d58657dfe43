from __future__ import annotations

from pathlib import Path

import pytest

from snapshots.recording import open_recording
from snapshots.state_codec import state_digest
from tui.debugger.commands.files import BOOKMARKS_MAX
from tui.debugger.errors import CommandError
from tui.debugger.session import Session


def test_a_recording_is_saved_and_not_replaced_unless_forced(
    session: Session, tell, tmp_path: Path
) -> None:
    path = tmp_path / "run.kms"
    tell("alloc 0 64", f"save {path}")
    first = path.read_bytes()
    with pytest.raises(CommandError, match="exists"):
        tell(f"save {path}")
    assert path.read_bytes() == first
    tell("alloc 0 64", f"save {path} force")
    assert path.read_bytes() != first


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


def test_a_bookmark_is_a_name_for_a_step(busy: Session, tell) -> None:
    tell("goto 3", "bookmark here", "goto end", "bookmark last")
    assert tell("bookmark").table.rows == ((3, "@here"), (busy.end_step, "@last"))
    tell("goto @here")
    assert busy.step == 3
    tell("goto 5", "bookmark here")
    assert busy.bookmarks["here"] == 5


@pytest.mark.parametrize("name", ["1st", "a b", "-x", "ä", "x" * 65])
def test_a_bookmark_must_have_a_plain_name(session: Session, tell, name: str) -> None:
    with pytest.raises(CommandError, match="expected a letter"):
        tell(f"bookmark '{name}'")
    assert session.bookmarks == {}


def test_bookmarks_have_an_end_but_can_be_moved_then_too(session: Session, tell) -> None:
    session.bookmarks = {f"b{number}": 7 for number in range(BOOKMARKS_MAX)}
    with pytest.raises(CommandError, match="already"):
        tell("bookmark one_more")
    tell("bookmark b0")
    assert session.bookmarks["b0"] == 0


def test_check_names_what_disagrees(busy: Session, tell) -> None:
    assert tell("check").ok
    busy.machine.percpu.chunks[0].free_bytes -= 4
    output = tell("check")
    assert not output.ok and "free" in output.lines[0]
