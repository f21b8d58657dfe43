from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.debugger.commands.catalogue import REGISTRY
from tui.debugger.commands.registry import (
    ADDRESS,
    CHUNK,
    CPU,
    FAMILIAR,
    NUMBER,
    OWNED,
    PTR,
    TEXT,
    Argument,
    Command,
    find_command,
    one_of,
)
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.session import Session


async def _nothing(*_: object) -> Output:
    return Output()


TRY = Command(
    "try", (), "none",
    (Argument("N", NUMBER), Argument("WORD", one_of("a", "b"), optional=True, many=True)),
    "for a test", _nothing,
)  # fmt: skip


def test_a_wrong_word_is_answered_with_the_nearest_command_and_its_usage(tell) -> None:
    with pytest.raises(
        CommandError, match=r"there is no command 'stepp'; did you mean: step \[N\]"
    ):
        tell("stepp 3")


def test_a_beginning_is_answered_with_what_it_could_become(tell) -> None:
    with pytest.raises(CommandError, match="did you mean: divergences"):
        tell("div")


def test_usage_shows_what_is_optional_and_what_can_follow(session: Session) -> None:
    assert TRY.usage == "try N [WORD…]"
    assert TRY.values(session, ["7"]) == [7]
    assert TRY.values(session, ["0x10", "b", "a", "b"]) == [16, "b", "a", "b"]
    assert [TRY.argument_at(index) for index in (0, 1, 9)] == [
        TRY.arguments[0], TRY.arguments[1], TRY.arguments[1],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [([], "N is missing"), (["x"], "'x' is no number"), (["1", "c"], "'c': expected a or b")],
)
def test_wrong_words_are_refused_with_the_usage(
    session: Session, words: list[str], said: str
) -> None:
    with pytest.raises(CommandError, match=said) as refused:
        TRY.values(session, words)
    assert str(refused.value).endswith("; usage: try N [WORD…]")


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        (CPU, "3", 3),
        (CHUNK, "reserved", -1),
        (PTR, "percpu:0x37000", 0x37000),
        (PTR, "0x37000", 0x37000),
        (ADDRESS, "0xffff888000000000", 0xFFFF888000000000),
        (OWNED, "phys:0x1000", "phys:0x1000"),
        (TEXT, "a b", "a b"),
    ],
)
def test_each_kind_reads_its_own(session: Session, kind, word: str, value: object) -> None:
    assert kind.read(session, word) == value


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (CPU, "4"),
        (CHUNK, "9"),
        (PTR, "phys:0x1000"),
        (PTR, "percpu:0x37000@1"),
        (ADDRESS, "percpu:0x37000"),
        (OWNED, "nowhere"),
        (TEXT, ""),
        (TEXT, "a\x1b[31m"),
    ],
)
def test_each_kind_refuses_what_is_another(session: Session, kind, word: str) -> None:
    with pytest.raises(CommandError):
        kind.read(session, word)


@given(st.text(max_size=20).filter(lambda word: word not in REGISTRY))
def test_a_word_that_is_no_command_is_refused_with_help(word: str) -> None:
    with pytest.raises(
        CommandError, match=r"there is no command .*(help lists|did you mean|here it is)"
    ):
        find_command(REGISTRY, word)


def test_an_alias_finds_its_command() -> None:
    for name, command in REGISTRY.items():
        assert find_command(REGISTRY, name) is command
        assert name in (command.name, *command.aliases)


def test_a_word_of_gdb_is_answered_with_what_it_is_called_here(tell) -> None:
    for word, called in (("break", "until"), ("info", "where"), ("undo", "back")):
        with pytest.raises(CommandError, match=f"no command '{word}'; here it is: .*{called}"):
            tell(word)
    assert not set(FAMILIAR) & set(REGISTRY)
    assert find_command(REGISTRY, "si").name == "step"
    assert find_command(REGISTRY, "rsi").name == "back"
