from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tui.debugger.commands.catalogue import REGISTRY
from tui.debugger.console import answer, complete, execute, run_lines, split_words
from tui.debugger.errors import CommandError
from tui.debugger.session import Session

WORDS = [
    *REGISTRY, "0", "1", "3", "64", "-1", "0x37000", "percpu:0x37000@2", "phys:0", "@x", "#0",
    "50%", "+1", "-2", "first", "later", "atomic", "create", "alloc", "size=64", "--json", "end",
    "18446744073709551615", "99999999999999999999", "", "\x00", "'", '"', "\\", "é", "never",
]  # fmt: skip
NOT_TYPED = ("save",)
typed = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join),
    st.lists(st.sampled_from(WORDS), max_size=6).map(shlex.join),
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(lines=st.lists(typed, min_size=1, max_size=8))
def test_whatever_is_typed_raises_nothing_but_a_command_error(
    boot_example: Callable[[str], Session], lines: list[str]
) -> None:
    session = boot_example("up1")
    for line in lines:
        if line.split()[:1] in [[word] for word in NOT_TYPED]:
            continue
        with contextlib.suppress(CommandError):
            asyncio.run(answer(session, line))
        assert session.first_step <= session.step <= session.end_step
        complete(session, line)


def test_a_wrong_word_is_answered_with_the_nearest_command_and_its_usage(tell) -> None:
    with pytest.raises(
        CommandError, match=r"there is no command 'stepp'; did you mean: step \[N\]"
    ):
        tell("stepp 3")


def test_a_beginning_is_answered_with_what_it_could_become(tell) -> None:
    with pytest.raises(CommandError, match="did you mean: divergences"):
        tell("div")


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
        ("al", ["alloc"]),
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


def test_every_command_has_help_and_completes(session: Session, tell) -> None:
    for name, command in REGISTRY.items():
        lines = tell(f"help {shlex.quote(name)}").lines
        assert lines[0] == command.usage and command.help in lines[1]
        assert name in complete(session, name)


def test_help_lists_every_command_once(tell) -> None:
    lines = tell("help").lines
    for command in dict.fromkeys(REGISTRY.values()):
        assert sum(line.strip().startswith(f"{command.usage} ") for line in lines) == 1


def test_a_script_stops_at_its_first_wrong_line_and_names_it(session: Session) -> None:
    lines = ["alloc 0 8", "# note", "nix", "step"]
    with pytest.raises(CommandError, match=r"my\.txt: line 3: there is no command 'nix'"):
        list(run_lines(session, lines, "my.txt"))
    assert session.end_step > 0


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


async def test_execute_can_be_awaited_by_a_screen(session: Session) -> None:
    output = await execute(session, "alloc 1 64")
    assert output.lines[0] == "ptr 0x37000"
