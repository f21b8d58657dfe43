"""The verb that brings dead sessions back, from outside."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from snapshots.recording import open_recording
from tests.child import command_line, line_with, running
from tui.debugger.autosave import attach, offers
from tui.debugger.console import execute
from tui.verbs import recover
from tui.verbs.door import open_session

ROOT = Path(__file__).parents[3]
MACHINE = ROOT / "examples" / "machines" / "numa2-4cpu.toml"


def kmemscope(*words: object, text: str = "") -> Result:
    from tui.cli import app

    return CliRunner().invoke(app, [str(word) for word in words], input=text)


@pytest.fixture
def dead() -> str:
    """Leave a session as if it had died; returns the digest of where it stood."""
    session = open_session(MACHINE)
    autosave = attach(session, MACHINE)
    for line in ("alloc 0 64", "alloc 1 128", "back 3"):
        asyncio.run(execute(session, line))
    autosave.leave()
    return session.digest()


def test_there_is_nothing_to_recover() -> None:
    result = kmemscope("recover")
    assert result.exit_code == 0
    assert "0 sessions to recover" in result.stdout


def test_dead_sessions_are_listed(dead: str) -> None:
    (row,) = json.loads(kmemscope("recover", "--json").stdout)["rows"]
    assert (row["n"], row["inputs"], row["unsaved"]) == (1, 2, True)
    assert row["source"] == str(MACHINE)
    assert "numa2-4cpu.toml" in kmemscope("recover").stdout


def test_one_is_opened_at_the_prompt_where_it_stood(dead: str) -> None:
    result = kmemscope("recover", 1, "--console", text="alloc 2 8\nbranches\n")
    assert result.exit_code == 0, result.output
    assert "pcpu_alloc on cpu 2" in result.stdout
    assert "in no file of yours" in result.stderr
    assert len(offers()) == 1  # its work is still saved nowhere else


def test_one_is_saved(dead: str, tmp_path: Path) -> None:
    path = tmp_path / "saved.kms"
    result = kmemscope("recover", 1, "-o", path)
    assert result.exit_code == 0, result.output
    assert open_recording(path).timeline.nr_inputs == 2
    assert offers() == []


def test_saving_over_a_file_is_refused_and_costs_nothing(dead: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.kms"
    path.write_text("mine")
    assert kmemscope("recover", 1, "-o", path).exit_code == 2
    assert path.read_text() == "mine"
    assert len(offers()) == 1


@pytest.mark.parametrize("which", ["1", "all"])
def test_one_is_thrown_away(dead: str, which: str) -> None:
    assert "discarded" in kmemscope("recover", "--discard", which).stdout
    assert offers() == []


@pytest.mark.parametrize("words", [(7,), ("--discard", "7"), ("--discard", "some"), (1,)])
def test_what_cannot_be_is_told(dead: str, words: tuple[object, ...]) -> None:
    result = kmemscope("recover", *words)
    assert result.exit_code == 2
    assert result.stderr.startswith("kmemscope: ")
    assert len(offers()) == 1


def test_the_console_leaves_what_was_not_saved(tmp_path: Path) -> None:
    result = kmemscope("console", MACHINE, text="alloc 0 64\nquit\n")
    assert "1 input" in result.stderr
    kmemscope("recover", "--discard", "all")
    kmemscope("console", MACHINE, text=f"alloc 0 64\nsave {tmp_path / 'run.kms'}\nquit\n")
    assert offers() == []


def test_a_script_that_ends_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("alloc 0 64\n")
    result = kmemscope("script", tmp_path / "s.txt", MACHINE)
    assert (result.exit_code, result.stderr) == (0, "")
    assert offers() == []


def test_a_console_that_is_killed_is_offered() -> None:
    pipe = subprocess.PIPE
    with running(command_line("console", MACHINE), stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write("alloc 0 64\nalloc 1 64\n")
        child.stdin.flush()
        for _ in range(2):
            line_with(child.stdout, "step")
        child.send_signal(signal.SIGKILL)
    (row,) = offers()
    assert row.place is not None and row.place.nr_unsaved == 2


@pytest.mark.parametrize("lines", ["nonsense\n", "alloc 0 64\nnonsense\n"])
def test_a_script_with_a_wrong_line_is_no_session_that_died(lines: str, tmp_path: Path) -> None:
    script = tmp_path / "script.txt"
    script.write_text(lines)
    assert kmemscope("script", script, MACHINE).exit_code == 2
    assert offers() == []


def test_a_script_whose_reader_has_seen_enough_is_no_session_that_died() -> None:
    """`kmemscope script … | head -1`."""
    session = open_session(MACHINE)
    with pytest.raises(BrokenPipeError), recover.autosaved(session, MACHINE, keep_unsaved=False):
        asyncio.run(execute(session, "alloc 0 64"))
        raise BrokenPipeError
    assert not offers()


def test_a_console_whose_reader_went_away_with_work_unsaved_is_offered() -> None:
    session = open_session(MACHINE)
    with pytest.raises(BrokenPipeError), recover.autosaved(session, MACHINE):
        asyncio.run(execute(session, "alloc 0 64"))
        raise BrokenPipeError
    assert offers()
