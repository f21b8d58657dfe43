"""Options behind a command's words: `--until POSITION` bounds a move or a search, others are switches.

    step 500 --until @here     back --until 50%     last chunk[1].free_bytes --stay

They stand last. A bound is a position, and the move stops there at the latest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tui.debugger.commands.registry import NUMBER, POSITION, Argument, Kind, Value
from tui.debugger.errors import CommandError
from tui.debugger.session import Session

UNTIL = "--until"
FROM = "--from"
SIGN = "--"


@dataclass(frozen=True, slots=True)
class Options:
    """What was typed before the options, and their values."""

    words: tuple[Value, ...] = ()
    until: int | None = None
    start: int | None = None  # of --from
    switches: tuple[str, ...] = ()


def read_options(
    session: Session,
    words: Iterable[Value],
    *,
    switches: tuple[str, ...] = (),
    with_from: bool = False,
) -> Options:
    """Return words and options apart. Raises CommandError for one that is unknown or lacks its value."""
    rest = list(words)
    plain: list[Value] = []
    values: dict[str, int] = {}
    found: list[str] = []
    with_value = (UNTIL, FROM) if with_from else (UNTIL,)
    while rest:
        word = rest.pop(0)
        if not isinstance(word, str) or not word.startswith(SIGN) or not word[2:3].isalpha():
            if values or found:
                raise CommandError(f"{word!r} stands behind an option: expected options last")
            plain.append(word)
        elif word in switches:
            found.append(word)
        elif word in with_value and word not in values:
            if not rest:
                raise CommandError(f"{word}: a position is missing: expected {word} POSITION")
            values[word] = session.position(str(rest.pop(0)))
        else:
            known = " ".join((*(f"{each} POSITION" for each in with_value), *switches))
            raise CommandError(f"{word}: expected {known}, each once")
    return Options(tuple(plain), values.get(UNTIL), values.get(FROM), tuple(found))


def check_bound(session: Session, until: int | None, *, forward: bool) -> int | None:
    """Return the bound of a move. Raises CommandError if it lies the other way."""
    if until is None:
        return None
    lies_behind = until < session.step if forward else until > session.step
    if lies_behind:
        way, side = ("forwards", "behind") if forward else ("backwards", "ahead of")
        here = f"the present step {session.step}"
        raise CommandError(f"{UNTIL}: step {until} lies {side} {here}, for a move {way}")
    return until


def _read_word(session: Session, word: str) -> Value:
    if not word.isprintable():
        raise CommandError(f"{word!r} holds characters that do not print")
    return word


def _read_count(session: Session, word: str) -> Value:
    return word if word.startswith(SIGN) else NUMBER.read(session, word)


def _offer_bound(session: Session) -> Iterable[str]:
    return (UNTIL, *POSITION.offer(session))


BOUND = Argument(f"{UNTIL} POSITION", Kind(_read_word, _offer_bound), optional=True, many=True)
COUNT = Argument("N", Kind(_read_count, lambda session: (UNTIL,)), optional=True)
