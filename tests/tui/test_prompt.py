from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from tui.debugger.console import answer_now
from tui.debugger.session import Session
from tui.prompt import LEAVE, prompt_loop


def _type(monkeypatch: pytest.MonkeyPatch, text: str, *, terminal: bool = False) -> None:
    typed = io.StringIO(text)
    monkeypatch.setattr(typed, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys, "stdin", typed)


@pytest.mark.parametrize("word", LEAVE)
def test_lines_are_answered_until_somebody_leaves(
    recorded: Session,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    word: str,
) -> None:
    _type(monkeypatch, f"goto 7\n\n  {word} \ngoto 9\n")
    prompt_loop(recorded)
    assert recorded.step == 7
    assert capsys.readouterr().out.startswith("step 7/")


def test_the_end_of_input_leaves_too(recorded: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    _type(monkeypatch, "goto 7\ngoto 9")
    prompt_loop(recorded)
    assert recorded.step == 9


def test_a_wrong_line_is_told_as_it_was_typed_but_harmless(
    recorded: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _type(monkeypatch, "ni\x1b[31mx\ngoto 9\n")
    prompt_loop(recorded)
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("there is no command") and "\x1b" not in first
    assert recorded.step == 9


def test_an_interrupt_stops_the_line_and_not_the_prompt(
    recorded: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(session: Session, line: str) -> tuple[str, bool]:
        answered = answer_now(session, line)
        if line == "goto end":
            raise KeyboardInterrupt
        return answered

    monkeypatch.setattr("tui.prompt.answer_now", interrupted)
    _type(monkeypatch, "goto end\ngoto 3\n")
    prompt_loop(recorded)
    assert capsys.readouterr().out.startswith(f"interrupted at step {recorded.end_step}\nstep 3/")


def test_at_a_terminal_the_tab_key_completes_words(
    recorded: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held: dict[str, object] = {}
    line = "blocks re"
    fake = SimpleNamespace(
        get_line_buffer=lambda: line + " and what stands behind the cursor",
        get_endidx=lambda: len(line),
        set_completer_delims=lambda delims: held.update(delims=delims),
        set_completer=lambda completer: held.update(completer=completer),
        parse_and_bind=lambda text: held.update(bound=text),
    )
    monkeypatch.setitem(sys.modules, "readline", fake)
    _type(monkeypatch, "quit\n", terminal=True)
    recorded.name = "a\x1bname"
    prompt_loop(recorded)
    out = capsys.readouterr().out
    assert out.startswith(f"a\\x1bname: steps 0 to {recorded.end_step}; help, quit\n(")
    completer = held["completer"]
    assert callable(completer)
    assert [completer("re", state) for state in (0, 1)] == ["reserved ", None]
    assert (held["delims"], held["bound"]) == (" ", "tab: complete")
