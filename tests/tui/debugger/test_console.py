from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tui.debugger.commands.catalogue import REGISTRY
from tui.debugger.commands.registry import TABLE_ONLY
from tui.debugger.console import answer, answer_now, complete, execute, run_lines, split_words
from tui.debugger.errors import CommandError
from tui.debugger.session import Session

OBJECTS = Path(__file__).parents[2] / "modules" / "objects"
WORDS = [
    *REGISTRY, "0", "1", "3", "64", "-1", "0x37000", "percpu:0x37000@2", "phys:0", "@x", "#0",
    "50%", "+1", "-2", "first", "later", "atomic", "create", "alloc", "size=64", "--json", "end",
    "18446744073709551615", "99999999999999999999", "", "\x00", "'", '"', "\\", "é", "never",
    "up", "down", "off", "page-alloc", "hotplug", "nth=0", "nth=1", "times=-1", "probability=101",
    "space=-1", "interval=0", "cpu=0", "cpu=9", "node=-7", "node=0", "gfp=GFP_ATOMIC", "gfp=x", "-7",
    "180", "235", "1000000000", "0xffff888000100000", "0xffffc90000000000", "/dev/zero", ".", "nix.o",
    f"{OBJECTS}/exporter-x86-64.o", f"{OBJECTS}/counter-x86-64.o", f"{OBJECTS}/plain-i386.o",
    "init: a = pcpu_alloc 64 8", "init: return -5", "exporter", "zoneinfo", "x" * 3000,
]  # fmt: skip
NOT_TYPED = ("save",)
typed = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join),
    st.lists(st.sampled_from(WORDS), max_size=6).map(shlex.join),
)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(lines=st.lists(typed, min_size=1, max_size=8))
def test_whatever_is_typed_raises_nothing_but_a_command_error(
    boot_example: Callable[[str], Session], lines: list[str]
) -> None:
    session = boot_example("up1")
    for line in lines:
        if line.split()[:1] in [[word] for word in NOT_TYPED]:
            continue
        try:
            asyncio.run(answer(session, line))
        except CommandError as problem:
            assert len(str(problem)) < 2000
        assert session.first_step <= session.step <= session.end_step
        complete(session, line)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("alloc", "alloc: CPU is missing; usage: alloc CPU SIZE"),
        ("alloc 9 8", "'9' is no CPU: expected a possible one, 0 to 3; usage: alloc"),
        ("alloc 0 eight", "'eight' is no number"),
        ("alloc 0 8 8 16", "second alignment"),
        ("goto nowhere", "no position"),
        ("chunks 1", "'1' is too much; usage: chunks"),
        ("x phys:0", "is a phys address"),
        ("until alloc size", "expected FIELD=VALUE"),
        ("until alloc color=1", "a field of cpu call_site"),
        ("x 0 0", "expected 1 to 65536"),
        ("x 0xffffffffffffffff 2", "beyond the last address"),
        ("bookmark 1st", "expected a letter"),
        ("'open quote", "quotation"),
    ],
)
def test_a_wrong_argument_is_named_with_what_was_expected(tell, line: str, text: str) -> None:
    with pytest.raises(CommandError) as refused:
        tell(line)
    assert text in str(refused.value)


def test_empty_lines_and_comments_do_nothing(tell) -> None:
    assert tell("").lines == tell("   ").lines == tell("# step 5").lines == ()


def test_a_line_that_ends_in_json_is_answered_in_json(session: Session) -> None:
    text, ok = asyncio.run(answer(session, "slots --json"))
    assert text.startswith('{"title": ') and ok


def test_a_line_has_a_greatest_length() -> None:
    with pytest.raises(CommandError, match="at most"):
        split_words("a" * 20_000)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("all", ["alloc", "alloc_pages"]),
        ("alloc ", ["0", "1", "2", "3"]),
        ("alloc 0 64 at", ["atomic"]),
        ("goto e", ["end"]),
        ("blocks re", ["reserved"]),
        ("until de", ["destroy", "depopulate"]),
        ("until alloc x", []),
        ("nonsense ", []),
        ("chunks ", []),
    ],
)
def test_completion_offers_what_fits_the_argument(
    session: Session, line: str, words: list[str]
) -> None:
    assert complete(session, line) == words


def test_json_and_text_of_a_long_file_are_made_only_when_asked_for(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = asyncio.run(execute(session, "zoneinfo"))
    assert both.lines and both.table is not None
    text = asyncio.run(answer(session, "zoneinfo"))[0]
    assert text == "\n".join(both.lines)
    few = asyncio.run(execute(session, "zoneinfo", wants=TABLE_ONLY, rows_max=7))
    assert few.lines == () and few.table is not None
    assert few.table.rows == both.table.rows[:7]
    assert few.table.notes[0].startswith("only the first 7 rows")
    monkeypatch.setattr("tui.debugger.commands.looking.proc_lines", None)
    assert '"rows": [{' in asyncio.run(answer(session, "zoneinfo --json"))[0]


@pytest.mark.parametrize("foreign", [True, False])
def test_what_only_a_strangers_file_can_cause_is_said_in_words(
    session: Session, monkeypatch: pytest.MonkeyPatch, foreign: bool
) -> None:
    monkeypatch.setattr(session.timeline, "is_foreign", foreign)
    monkeypatch.setattr(session.machine, "held_pages", None)
    with pytest.raises(CommandError if foreign else AttributeError) as refused:
        asyncio.run(execute(session, "whatis phys:0x1000000"))
    if foreign:
        assert "whatis: step 0: the recording holds what no machine can do or be" in str(
            refused.value
        )


def test_a_script_stops_at_its_first_wrong_line_and_names_it(session: Session) -> None:
    lines = ["alloc 0 8", "# note", "nix", "step"]
    with pytest.raises(CommandError, match=r"my\.txt: line 3: there is no command 'nix'"):
        list(run_lines(session, lines, "my.txt"))
    assert session.end_step > 0


async def test_execute_can_be_awaited_by_a_screen(session: Session) -> None:
    output = await execute(session, "alloc 1 64")
    assert output.lines[0] == "ptr 0x37000"


def test_an_interrupt_that_comes_as_a_cancelled_task_is_an_interrupt(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def given_up(*_: object) -> tuple[str, bool]:
        raise asyncio.CancelledError

    assert answer_now(session, "digest")[0] == f"0 {session.digest()}"
    monkeypatch.setattr("tui.debugger.console.answer", given_up)
    with pytest.raises(KeyboardInterrupt):
        answer_now(session, "digest")
