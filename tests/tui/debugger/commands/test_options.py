from __future__ import annotations

import pytest

from tui.debugger.commands.options import Options, check_bound, read_options
from tui.debugger.errors import CommandError
from tui.debugger.session import Session


def test_words_and_options_are_told_apart(busy: Session) -> None:
    assert read_options(busy, (5, "--until", "start")) == Options((5,), 0)
    assert read_options(busy, ("a", "-", "--5", "b")) == Options(("a", "-", "--5", "b"))
    asked = read_options(
        busy, ("x", "--stay", "--from", "1", "--until", "50%"), switches=("--stay",), with_from=True
    )
    assert asked == Options(("x",), busy.position("50%"), 1, ("--stay",))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--until",), "a position is missing"),
        (("--until", "nowhere"), "no position"),
        (("--until", "1", "5"), "stands behind an option"),
        (("--until", "1", "--until", "2"), "each once"),
        (("--from", "1"), "--from: expected --until POSITION"),
        (("--stay",), "--stay: expected --until POSITION"),
        (("--until", "99999999"), "not in this recording"),
    ],
)
def test_a_wrong_option_is_named(busy: Session, words: tuple[str, ...], text: str) -> None:
    with pytest.raises(CommandError, match=text):
        read_options(busy, words)


def test_a_bound_lies_on_the_way(busy: Session) -> None:
    busy.go_now(5)
    assert check_bound(busy, None, forward=True) is None
    assert check_bound(busy, 5, forward=True) == check_bound(busy, 5, forward=False) == 5
    with pytest.raises(
        CommandError, match="step 4 lies behind the present step 5, for a move forwards"
    ):
        check_bound(busy, 4, forward=True)
    with pytest.raises(
        CommandError, match="step 6 lies ahead of the present step 5, for a move backwards"
    ):
        check_bound(busy, 6, forward=False)
