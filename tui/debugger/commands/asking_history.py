"""Asking the whole history: who changed this last, first, ever; the life of an allocation.

last chunk[1].free_bytes       tells of the newest change up to the present and goes to the step before it,
so that `step` makes the change and a repeated `last` walks further back
last chunk[1].free_bytes --stay          only tells
changes zone[1].free_pages 0 50%         all changes behind 0 and up to the middle
"""

from __future__ import annotations

from snapshots.history.change_index import CHANGES_MAX, Change, becomes_true
from snapshots.history.compiled import Compiled, compile_condition, compile_text
from snapshots.history.expression import parse
from snapshots.history.expression_words import ExpressionError
from snapshots.history.fields import CATALOGUE
from snapshots.history.life import life_of
from tui.debugger.commands.conditions import EXPRESSION, expression_text
from tui.debugger.commands.options import Options, check_bound, read_options
from tui.debugger.commands.registry import PTR, Argument, Command, Kind, Seat, Value
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.searching import answer_of
from tui.debugger.session import Session
from tui.debugger.table import count
from tui.debugger.views.changes import (
    change_text,
    changes_view,
    fields_view,
    life_view,
    value_text,
    value_view,
)

GROUP = "history"
STAY = "--stay"


async def print_value(seat: Seat, *words: Value) -> Output:
    """Show what an expression is now."""
    session = seat.session
    of = compile_text(expression_text(words), session.machine)
    index = session.watches.index_of(session.timeline)
    sight = await answer_of(index.sight_at_present(of), seat.progress, session.step)
    value = of.get(sight)
    return Output((f"{of.text} = {value_text(of, value)}",), value_view(session, of, value))


async def last(seat: Seat, *words: Value) -> Output:
    """Tell of the newest change up to the present, and go to the step before it."""
    session = seat.session
    options, of = _question(session, words, switches=(STAY,))
    bound = check_bound(session, options.until, forward=False)
    least = session.first_step if bound is None else bound
    index = session.watches.index_of(session.timeline)
    row = await answer_of(index.last(of, session.step, least=least), seat.progress, least)
    nothing = f"{of.text} did not change between step {least} and step {session.step}"
    return await _told(seat, of, row, nothing, options)


async def first(seat: Seat, *words: Value) -> Output:
    """Tell of the first change of the whole run, and go to the step before it."""
    session = seat.session
    options, of = _question(session, words, switches=(STAY,))
    most = session.end_step if options.until is None else options.until
    index = session.watches.index_of(session.timeline)
    row = await answer_of(index.next(of, session.first_step, most=most), seat.progress, most)
    nothing = f"{of.text} does not change up to step {most}"
    return await _told(seat, of, row, nothing, options)


async def _told(
    seat: Seat, of: Compiled, row: Change | None, nothing: str, options: Options
) -> Output:
    """Return a change as an answer, and go to where it is about to happen unless told to stay."""
    session = seat.session
    if row is None:
        return Output((nothing,), changes_view(session, of, (), nothing))
    if STAY not in options.switches:
        await session.go(row.step - 1, seat.progress)
    text = change_text(of, row)
    stands = f"step {session.here}"
    return Output((text, stands), changes_view(session, of, (row,), text))


async def changes(seat: Seat, *words: Value) -> Output:
    """List all changes, of the whole run or of a part of it."""
    return await _list(seat, words, only_true=False)


async def when(seat: Seat, *words: Value) -> Output:
    """List where a condition became true, in the whole run or in a part of it."""
    return await _list(seat, words, only_true=True)


async def _list(seat: Seat, words: tuple[Value, ...], *, only_true: bool) -> Output:
    session = seat.session
    options = read_options(session, words, with_from=True)
    text, low, high = _range_of(session, options)
    compiled = compile_condition if only_true else compile_text
    of = compiled(text, session.machine)
    index = session.watches.index_of(session.timeline)
    search = index.changes(of, low, high, rows_max=CHANGES_MAX)
    rows = await answer_of(search, seat.progress, high)
    end = rows[-1].step if len(rows) == CHANGES_MAX else high
    if only_true:
        rows = tuple(row for row in rows if becomes_true(row))
    what = f"became true {count(len(rows), 'time')}" if only_true else count(len(rows), "change")
    title = f"{of.text}: {what} behind step {low} and up to step {high}"
    if end < high:
        title += (
            f"; only {CHANGES_MAX} changes are looked at, up to step {end}: ask on --from {end}"
        )
    return Output(table=changes_view(session, of, rows, title))


def _range_of(session: Session, options: Options) -> tuple[str, int, int]:
    """Return (expression, from, to); FROM TO may stand behind an expression that ends before them."""
    words = options.words
    low, high = options.start, options.until
    text = expression_text(words)
    if len(words) > 2 and low is None and high is None and not _parses(text):
        low, high = (session.position(str(word)) for word in words[-2:])
        text = expression_text(words[:-2])
    low = session.first_step if low is None else low
    high = session.end_step if high is None else high
    if low > high:
        raise CommandError(f"from step {low} to step {high}: expected the earlier one first")
    return text, low, high


def _parses(text: str) -> bool:
    try:
        parse(text)
    except ExpressionError:
        return False
    return True


def _question(
    session: Session, words: tuple[Value, ...], *, switches: tuple[str, ...] = ()
) -> tuple[Options, Compiled]:
    options = read_options(session, words, switches=switches)
    return options, compile_text(expression_text(options.words), session.machine)


async def life(seat: Seat, ptr: int) -> Output:
    """List every time that a place was allocated and freed."""
    session = seat.session
    rows = await answer_of(life_of(session.timeline, ptr), seat.progress, session.end_step)
    if not rows:
        raise CommandError(f"nothing was ever allocated at percpu:{ptr:#x} in this run")
    return Output(table=life_view(session, ptr, rows))


async def show_fields(seat: Seat, name: str = "") -> Output:
    """List what expressions can ask for."""
    return Output(table=fields_view(seat.session, name))


def _read_component(session: Session, word: str) -> Value:
    names = list(dict.fromkeys(component.name for component in CATALOGUE))
    if word not in names:
        raise CommandError(f"there is no {word!r}; there are: {' '.join(names)}")
    return word


COMPONENT = Kind(_read_component, lambda session: dict.fromkeys(each.name for each in CATALOGUE))

COMMANDS = (
    Command(
        "print", ("p",), GROUP, (EXPRESSION,),
        "what an expression is now, as in: print chunk[1].free_bytes; see fields", print_value,
    ),
    Command(
        "last", (), GROUP, (EXPRESSION,),
        "who changed it last; goes to the step before, again and again further back; [--stay]"
        " [--until POSITION]", last,
    ),
    Command(
        "first", (), GROUP, (EXPRESSION,),
        "who changed it first; goes to the step before; [--stay] [--until POSITION]", first,
    ),
    Command(
        "changes", (), GROUP, (EXPRESSION,),
        "all its changes; [FROM TO] or [--from POSITION] [--until POSITION]", changes,
    ),
    Command(
        "when", (), GROUP, (EXPRESSION,),
        "where it became true; [FROM TO] or [--from POSITION] [--until POSITION]", when,
    ),
    Command(
        "life", (), GROUP, (Argument("PTR", PTR),), "born, freed and reused: the life of a place", life
    ),
    Command(
        "fields", (), GROUP, (Argument("COMPONENT", COMPONENT, optional=True),),
        "what expressions can ask for", show_fields,
    ),
)  # fmt: skip
