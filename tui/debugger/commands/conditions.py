"""Going until something is so: an event, a condition that becomes true, a watched expression that changes.

    false false true true false true          until X       the next step at which X becomes true
          ─────►      ◄────                   reverse-until X  the last such step before the present

A condition that is true already must become false first, forwards and backwards alike; what was true at the
run's first step never became so. With watches, continue stops where one of them changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from kernel_sim.events import EVENT_NAMES, EVENT_TYPES, EventAt
from snapshots.history.change_index import Change, Search, any_change, becomes_true
from snapshots.history.compiled import Compiled, compile_condition, compile_text
from snapshots.history.fields import field_words
from tui.debugger.addresses import parse_number
from tui.debugger.commands.options import UNTIL, check_bound, read_options
from tui.debugger.commands.registry import (
    NUMBER,
    TEXT,
    Argument,
    Command,
    Kind,
    Seat,
    Value,
    one_of,
)
from tui.debugger.commands.stepping import GROUP, move
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.searching import answer_of, find_event
from tui.debugger.session import Session
from tui.debugger.views.changes import change_text, watches_view
from tui.debugger.watches import WATCHES_MAX

MARK_OF_WORD = {"create": "c", "destroy": "d", "fail": "f"}
CHUNK_MARKS = ("c", "d")
SHORT_EVENTS = {
    "alloc": "percpu_alloc_percpu",
    "free": "percpu_free_percpu",
    "fail": "percpu_alloc_percpu_fail",
    "create": "percpu_create_chunk",
    "destroy": "percpu_destroy_chunk",
    "populate": "percpu_populate",
    "depopulate": "percpu_depopulate",
    "queue": "workqueue_queue_work",
    "work": "workqueue_execute_start",
    "console": "console",
    "page-alloc": "mm_page_alloc",
    "page-free": "mm_page_free",
    "kmalloc": "kmalloc",
    "kfree": "kfree",
    "flush": "tlb_flush",
    "fault": "page_fault_kernel",
    "cpuhp": "cpuhp_enter",
    "insmod": "module_load",
    "rmmod": "module_free",
}
EVENT = one_of(*SHORT_EVENTS, *EVENT_NAMES.values())
OF_EXPRESSIONS = frozenset("[]()<>=&|+*.")
WISH = re.compile(r"\w+=(?!=)|\w+$")
WORDS_OF_EXPRESSIONS = ("and", "or", "not", "==", "!=", "-")


# -- what was typed --------------------------------------------------------------------------------


def expression_text(words: tuple[Value, ...]) -> str:
    """Return words as one text; one with blanks behind == or != is a text whose quotes are gone."""
    texts = [str(word) for word in words]
    for place in range(1, len(texts)):
        if texts[place - 1] in ("==", "!=") and " " in texts[place] and '"' not in texts[place]:
            texts[place] = f'"{texts[place]}"'
    return " ".join(texts)


def is_expression(words: tuple[Value, ...]) -> bool:
    """Say whether words are a condition and not an event with FIELD=VALUE."""
    texts = [str(word) for word in words]
    is_event = texts[0] in SHORT_EVENTS or texts[0] in EVENT_TYPES
    return any(
        text in WORDS_OF_EXPRESSIONS
        or (not WISH.match(text) and bool(OF_EXPRESSIONS.intersection(text)))
        for text in (texts[1:] if is_event else texts)
    )


# -- until -----------------------------------------------------------------------------------------


async def until(seat: Seat, *words: Value) -> Output:
    """Go to the next event of a name whose fields are as wished, or where a condition becomes true."""
    return await _until(seat, words, forward=True)


async def reverse_until(seat: Seat, *words: Value) -> Output:
    """Go back to the last such event, or to where the condition last became true."""
    return await _until(seat, words, forward=False)


async def _until(seat: Seat, words: tuple[Value, ...], *, forward: bool) -> Output:
    options = read_options(seat.session, words)
    bound = check_bound(seat.session, options.until, forward=forward)
    if not options.words:
        raise CommandError("EVENT or a condition is missing: as in: until chunk[1].free_bytes < 4K")
    way, edge = ("further on", "the end") if forward else ("before this", "the start")
    if is_expression(options.words):
        return await _until_true(seat, expression_text(options.words), bound, forward=forward)
    name = str(options.words[0])
    search = _event_search(seat.session, options.words, bound, forward=forward)
    goal = await answer_of(search, seat.progress, _edge(seat.session, bound, forward))
    remark = f"no such {name} {way}: this is {edge}"
    return await move(seat, goal, forward=forward, until=bound, remark=remark)


def _edge(session: Session, bound: int | None, forward: bool) -> int:
    if bound is not None:
        return bound
    return session.end_step if forward else session.first_step


async def _until_true(seat: Seat, text: str, bound: int | None, *, forward: bool) -> Output:
    session = seat.session
    of = compile_condition(text, session.machine)
    edge = _edge(session, bound, forward)
    search = _nearest(session, of, edge, becomes_true, forward=forward)
    row = await answer_of(search, seat.progress, edge)
    place = "the end" if forward else "the start"
    remark = (
        f"it does not become true {'further on' if forward else 'before this'}: this is {place}"
    )
    if row is None:
        return await move(seat, None, forward=forward, until=bound, remark=remark)
    output = await move(seat, row.step, forward=forward)
    return _with(output, (change_text(of, row),))


def _nearest(
    session: Session, of: Compiled, edge: int, wanted: Callable[[Change], bool], *, forward: bool
) -> Search[Change | None]:
    """Find the nearest wanted change that way, no farther than the edge; that of the present is behind."""
    index = session.watches.index_of(session.timeline)
    if forward:
        return index.next(of, session.step, most=edge, wanted=wanted)
    return index.last(of, session.step - 1, least=edge, wanted=wanted)


def _with(output: Output, remarks: tuple[str, ...]) -> Output:
    """Return an answer with more to say beneath."""
    table = output.table
    if table is not None:
        table = type(table)(table.title, table.columns, table.rows, (*remarks, *table.notes))
    return Output((*output.lines, *remarks), table, output.ok)


def _event_search(
    session: Session, words: tuple[Value, ...], bound: int | None, *, forward: bool
) -> Search[int | None]:
    name = str(EVENT.read(session, str(words[0])))
    kind = EVENT_TYPES[SHORT_EVENTS.get(name, name)]
    checks = [_wish(kind, str(word)) for word in words[1:]]

    def is_wanted(at: EventAt) -> bool:
        return isinstance(at.event, kind) and all(_holds(at, *check) for check in checks)

    edge = _edge(session, bound, forward)
    low, high = (session.step, edge) if forward else (edge - 1, session.step - 1)
    return find_event(session.timeline, is_wanted, low, high, forward=forward)


def _wish(event: type, text: str) -> tuple[str, str]:
    """Return (field, value) of `field=value`. Raises CommandError: no such field."""
    name, equals, value = text.partition("=")
    fields: tuple[str, ...] = ("cpu", *getattr(event, "_fields", ()))
    if not equals or name not in fields:
        fields_text = " ".join(fields)
        raise CommandError(f"{text!r}: expected FIELD=VALUE with a field of {fields_text}")
    return name, value


def _holds(at: EventAt, name: str, value: str) -> bool:
    actual: int | str | bool = at.cpu if name == "cpu" else getattr(at.event, name)
    return actual == value if isinstance(actual, str) else actual == parse_number(value)


# -- continue --------------------------------------------------------------------------------------


async def proceed(seat: Seat, *words: Value) -> Output:
    """Go to where a watched expression changes; without watches to the next chunk event."""
    return await _continue(seat, words, forward=True)


async def reverse_proceed(seat: Seat, *words: Value) -> Output:
    """Go back to where a watched expression last changed; without watches to the chunk event before."""
    return await _continue(seat, words, forward=False)


async def _continue(seat: Seat, words: tuple[Value, ...], *, forward: bool) -> Output:
    session = seat.session
    options = read_options(session, words)
    bound = check_bound(session, options.until, forward=forward)
    if session.watches.rows and not options.words:
        return await _to_watched(seat, bound, forward=forward)
    marks = [MARK_OF_WORD[str(MARK.read(session, str(word)))] for word in options.words]
    goal = session.mark_step(tuple(marks) or CHUNK_MARKS, forward=forward)
    remark = (
        "none further on: this is the end" if forward else "none before this: this is the start"
    )
    return await move(seat, goal, forward=forward, until=bound, remark=remark)


async def _to_watched(seat: Seat, bound: int | None, *, forward: bool) -> Output:
    """Go to the nearest change of any watched expression, and tell all that change there."""
    session = seat.session
    nearest = _edge(session, bound, forward)
    found: list[tuple[int, str]] = []
    for watch in session.watches.rows:
        of = compile_text(watch.text, session.machine)
        search = _nearest(session, of, nearest, any_change, forward=forward)
        row = await answer_of(search, seat.progress, nearest)
        if row is not None:
            nearest = row.step
            found.append((row.step, f"watch {watch.number}: {change_text(of, row)}"))
    if not found:
        way, place = ("further on", "the end") if forward else ("before this", "the start")
        remark = f"nothing that is watched changes {way}: this is {place}"
        return await move(seat, None, forward=forward, until=bound, remark=remark)
    output = await move(seat, nearest, forward=forward)
    return _with(output, tuple(text for step, text in found if step == nearest))


# -- watches ---------------------------------------------------------------------------------------


async def watch(seat: Seat, *words: Value) -> Output:
    """Watch an expression; without one list those that are watched."""
    watches = seat.session.watches
    if words:
        if len(watches.rows) >= WATCHES_MAX:
            raise CommandError(f"{WATCHES_MAX} expressions are watched already: unwatch one first")
        of = compile_text(expression_text(words), seat.session.machine)
        row = watches.add(of.text)
        return Output((f"watch {row.number}: {row.text}",), watches_view(seat.session))
    return Output(table=watches_view(seat.session))


async def unwatch(seat: Seat, number: int | None = None) -> Output:
    """Watch an expression no more; without a number none any more."""
    watches = seat.session.watches
    if number is None:
        for row in watches.rows:
            watches.remove(row.number)
    elif not watches.remove(number):
        numbers = " ".join(str(row.number) for row in watches.rows) or "none"
        raise CommandError(f"there is no watch {number}; there are: {numbers}")
    return Output(table=watches_view(seat.session))


def _offer_wishes(session: Session) -> tuple[str, ...]:
    return (*SHORT_EVENTS, *field_words())


MARK = one_of(*MARK_OF_WORD)
KINDS = Argument(
    "KIND", Kind(TEXT.read, lambda session: (*MARK_OF_WORD, UNTIL)), optional=True, many=True
)
WISHES = (
    Argument("EVENT|EXPR", Kind(TEXT.read, _offer_wishes)),
    Argument("FIELD=VALUE", TEXT, optional=True, many=True),
)
EXPRESSION = Argument("EXPR", Kind(TEXT.read, lambda session: field_words()), many=True)
WATCHED = Argument("EXPR", Kind(TEXT.read, lambda session: field_words()), optional=True, many=True)

COMMANDS = (
    Command(
        "continue", ("c",), GROUP, (KINDS,),
        "to where a watched EXPR changes; without watches, or with KIND: to the next chunk created or"
        " destroyed, or of: create destroy fail; [--until POSITION]", proceed,
    ),
    Command(
        "reverse-continue", ("rc",), GROUP, (KINDS,),
        "back to where a watched EXPR last changed; without watches, or with KIND: to the last chunk"
        " event; [--until POSITION]", reverse_proceed,
    ),
    Command(
        "until", ("u",), GROUP, WISHES,
        "to the next such event, as in: until alloc size=64 cpu=1, or to where a condition becomes true,"
        " as in: until chunk[1].free_bytes < 4K; [--until POSITION]", until,
    ),
    Command(
        "reverse-until", ("ru",), GROUP, WISHES,
        "back to the last such event, or to where the condition last became true; [--until POSITION]",
        reverse_until,
    ),
    Command("watch", (), GROUP, (WATCHED,), "let continue stop where EXPR changes; list them", watch),
    Command(
        "unwatch", ("delete",), GROUP, (Argument("NUMBER", NUMBER, optional=True),),
        "stop watching one, or all", unwatch,
    ),
)  # fmt: skip
