from __future__ import annotations

import pytest

from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL
from tui.debugger.commands.call_words import (
    GFP,
    NODE,
    CallWords,
    call_words,
    first_cpu,
    words_argument,
)
from tui.debugger.errors import CommandError
from tui.debugger.session import Session

WORDS = words_argument(NODE, GFP)


def said(session: Session, *words: str) -> CallWords:
    return call_words(session, tuple(WORDS.kind.read(session, word) for word in words))


def test_words_come_in_any_order_and_have_defaults(session: Session) -> None:
    assert said(session) == CallWords(0, -1, GFP_KERNEL, False)
    assert said(session, "later", "gfp=GFP_ATOMIC", "cpu=2", "1") == CallWords(
        2, 1, GFP_ATOMIC, True
    )
    assert said(session, "node=1", "0").node == 0


@pytest.mark.parametrize("word", ["cpu=9", "node=7", "9", "gfp=GFP_NIX", "cpu", "size=1", "now"])
def test_a_word_that_says_nothing_possible_is_refused(session: Session, word: str) -> None:
    with pytest.raises(CommandError, match=r"no CPU|no node|expected|GFP"):
        said(session, word)


def test_a_command_without_nodes_takes_none(session: Session) -> None:
    with pytest.raises(CommandError, match=r"cpu=…"):
        words_argument().kind.read(session, "1")


def test_an_offline_cpu_makes_no_call(session: Session, tell) -> None:
    tell("cpu down 2")
    with pytest.raises(
        CommandError, match="CPU 2 is not online: nothing can run there; online: 0-1,3"
    ):
        said(session, "cpu=2")
    assert first_cpu(session) == 0
