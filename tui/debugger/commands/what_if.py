"""What if: the run once more with an input dropped, moved or altered, or on another machine, as a branch.

    drop 17 18              these inputs have not happened
    move 17 12              input 17 came just before input 12; move 17 step=900: at that step
    alter 17 gfp=GFP_ATOMIC size=64 cpu=2
    what-if percpu.dynamic_bytes=40960 schedule.seed=3
    what-if percpu.system=block-2005 percpu.options.posting=jan

Numbers are those that `inputs` shows. The branch goes to its end; what the edit brought along is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from kernel_sim.call import Arg
from kernel_sim.config import MachineConfig
from kernel_sim.errors import ConfigError
from kernel_sim.inputs import Input
from kernel_sim.mm.gfp import gfp_from_text, gfp_to_text
from kernel_sim.percpu.catalogue import system_entry
from kernel_sim.percpu.options import option_values
from snapshots.what_if.edit import (
    OF_AN_INPUT,
    Alter,
    Configure,
    Drop,
    Edit,
    Edited,
    Move,
    argument_index,
    argument_names,
    edited,
)
from snapshots.what_if.program import Left, Row
from tui.debugger.addresses import parse_number
from tui.debugger.commands.registry import NUMBER, TEXT, Argument, Command, Kind, Seat, Value
from tui.debugger.commands.stepping import where
from tui.debugger.errors import CommandError
from tui.debugger.event_text import argument_text
from tui.debugger.output import Output
from tui.debugger.session import Session
from tui.debugger.table import DEC, Cell, Column, Table, count

GROUP = "what if"
RAW = "raw"
STEP = "step="
GFP = "gfp"
TRUTHS = ("true", "false")  # of a key that only the machine that is wished for has
OPTIONS = "percpu.options."
LINES_TOLD = 12
TRUE_WORDS, FALSE_WORDS = ("yes", "true", "1"), ("no", "false", "0")
COLUMNS = (
    Column("what"),
    Column("input", DEC, "its number in the run that was edited"),
    Column("why"),
)


async def drop(seat: Seat, *words: Value) -> Output:
    """Let inputs not have happened."""
    numbers = [word for word in words if isinstance(word, int)]
    if not numbers:
        raise CommandError("drop: which inputs? expected numbers that `inputs` shows")
    return await _branch(seat, [Drop(number) for number in numbers], words)


async def move(seat: Seat, number: int, to: Value, *words: Value) -> Output:
    """Let an input have happened at another time."""
    edit = Move(number, before=to) if isinstance(to, int) else Move(number, step=_step_of(to))
    return await _branch(seat, [edit], words)


async def alter(seat: Seat, number: int, *words: Value) -> Output:
    """Let an input have been another one."""
    pairs = _pairs(words)
    timeline = seat.session.timeline
    first, end = timeline.heads[0].first_input, timeline.nr_inputs
    if not first <= number < end:
        raise CommandError(f"there is no input {number}; expected {first} to {end - 1}")
    given = timeline.input_at(number)
    edits = [Alter(number, name, _argument(seat.session, given, number, name, text))
             for name, text in pairs]  # fmt: skip
    return await _branch(seat, edits, words)


async def what_if(seat: Seat, *words: Value) -> Output:
    """Let the machine have been another one; the run begins at boot."""
    config = seat.session.machine.config
    edits = [Configure(key, _config_value(config, key, text)) for key, text in _pairs(words)]
    return await _branch(seat, edits, words)


# -- doing it --------------------------------------------------------------------------------------


async def _branch(seat: Seat, edits: Iterable[Edit], words: Iterable[Value]) -> Output:
    """Make the edited run and stand at its end; given up half way, stand where one stood."""
    session = seat.session
    timeline, step = session.timeline, session.step
    work = edited(timeline, list(edits), keep_raw=RAW in words)
    try:
        while True:
            try:
                here, goal = next(work)
            except StopIteration as end:
                made: Edited = end.value
                break
            if seat.progress is not None:
                seat.progress(here, goal)
            await asyncio.sleep(0)
    except BaseException:
        work.close()
        timeline.seek(step)
        raise
    _stand_on(session, made, _note(edits))
    return _told(session, made)


def _stand_on(session: Session, made: Edited, note: str) -> None:
    """Take the edited run up as a branch of the one that was edited."""
    session.tree.add(made.timeline, session.tree.current_number, made.began_at, note)


def _note(edits: Iterable[Edit]) -> str:
    """Return what was done, in the words of the commands."""
    said: list[str] = []
    for edit in edits:
        if isinstance(edit, Drop):
            said.append(f"drop {edit.number}")
        elif isinstance(edit, Move):
            to = f"{STEP}{edit.step}" if edit.before is None else str(edit.before)
            said.append(f"move {edit.number} {to}")
        elif isinstance(edit, Alter):
            value = argument_text(edit.value)
            if edit.what == GFP and isinstance(edit.value, int):
                value = gfp_to_text(edit.value)
            said.append(f"alter {edit.number} {edit.what}={value}")
        else:
            said.append(f"what-if {edit.key}={edit.value}")
    return "; ".join(said)


def _told(session: Session, made: Edited) -> Output:
    """Return what came of an edit: a row for each input that is not there any more, and the place."""
    groups = (
        ("dropped", tuple(Left(number, "as wished") for number in made.dropped)),
        ("dropped along", made.along),
        ("refused", made.refused),
        ("not given", made.stopped),
    )
    rows: list[tuple[Cell, ...]] = [
        (what, left.number, left.why) for what, lefts in groups for left in lefts
    ]
    name = session.tree.current.name
    sums = [f"{len(lefts)} {what}" for what, lefts in groups if lefts]
    title = f"branch {name} from step {made.began_at} on: {count(made.timeline.nr_inputs, 'input')}"
    title = ", ".join((title, *sums))
    lines = [f"  input {number} {what}: {why}" for what, number, why in rows[:LINES_TOLD]]
    if len(rows) > LINES_TOLD:
        lines.append(f"  and {len(rows) - LINES_TOLD} more; --json lists them all")
    stands = where(session)
    notes = stands.table.notes if stands.table is not None else ()
    table = Table(title, COLUMNS, tuple(rows), notes)
    return Output((title, *lines, *stands.lines), table, ok=stands.ok)


# -- words -----------------------------------------------------------------------------------------


def _pairs(words: Iterable[Value]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for word in words:
        name, equals, text = str(word).partition("=")
        if equals and name:
            pairs.append((name, text))
        elif word != RAW:
            raise CommandError(f"{word!r}: expected NAME=VALUE, or {RAW}")
    if not pairs:
        raise CommandError("nothing to change: expected NAME=VALUE")
    return pairs


def _step_of(to: Value) -> int:
    step = parse_number(str(to).removeprefix(STEP))
    if step is None:
        raise CommandError(f"{to!r}: expected an input's number, or {STEP}N")
    return step


def _argument(session: Session, given: Input, number: int, name: str, text: str) -> Arg:
    """Read an argument's new value as the kind that it has. Raises CommandError."""
    if name == "do":
        return text
    if name == "cpu":
        return _whole(name, text)
    row = Row(number, given.do, given.cpu, given.args, given.step, number, True)
    place = argument_index(session.machine, row, name)
    old = given.args[place]
    if isinstance(old, bool):
        return _flag(name, text)
    if isinstance(old, str):
        return text
    if isinstance(old, bytes):
        raise CommandError(f"{name} is a file of {len(old)} bytes: it cannot be typed")
    names = argument_names(session.machine, given.do)
    if names[place : place + 1] == (GFP,) and _number(text) is None:
        try:
            return gfp_from_text(text)
        except ConfigError as problem:
            raise CommandError(f"{name}: {problem}") from problem
    return _whole(name, text)


def _number(text: str) -> int | None:
    number = parse_number(text.removeprefix("-"))
    return -number if number is not None and text.startswith("-") else number


def _whole(name: str, text: str) -> int:
    number = _number(text)
    if number is None:
        raise CommandError(f"{name}={text}: expected a whole number, decimal or 0x…")
    return number


def _flag(name: str, text: str) -> bool:
    if text.lower() not in TRUE_WORDS + FALSE_WORDS:
        raise CommandError(f"{name}={text}: expected yes or no")
    return text.lower() in TRUE_WORDS


def _config_value(config: MachineConfig, key: str, text: str) -> object:
    """Read a value as the kind that the key has now; what is no key is refused by the machine."""
    old: object = config.to_mapping()
    for name in key.split("."):
        old = old.get(name) if isinstance(old, dict) else None
    if old is None and key.startswith(OPTIONS):
        old = _switches(config).get(key.removeprefix(OPTIONS))
    if isinstance(old, bool) or (old is None and text in TRUTHS):
        return _flag(key, text)
    if isinstance(old, int):
        return _whole(key, text)
    number = _number(text)
    return number if old is None and number is not None else text


def _switches(config: MachineConfig) -> Mapping[str, object]:
    """Return the switches of the machine's per-CPU system, with the values they have now."""
    percpu = config.percpu
    return option_values(system_entry(percpu.system).options, percpu.options)


def _number_or_raw(session: Session, word: str) -> Value:
    return word if word == RAW else NUMBER.read(session, word)


def _number_or_step(session: Session, word: str) -> Value:
    return word if word.startswith(STEP) else NUMBER.read(session, word)


def _offer_names(session: Session) -> Iterable[str]:
    return (*(f"{name}=" for name in OF_AN_INPUT), "size=", "gfp=", "ptr=", RAW)


def _offer_keys(session: Session) -> Iterable[str]:
    mapping = session.machine.config.to_mapping()
    for name, table in mapping.items():
        if isinstance(table, dict) and name != "symbols":
            yield from (f"{name}.{key}=" for key in table)
    yield from (f"{OPTIONS}{key}=" for key in _switches(session.machine.config))


N = Argument("N", NUMBER)
RAW_WORD = Argument(RAW, Kind(TEXT.read, lambda session: (RAW,)), optional=True)
COMMANDS = (
    Command(
        "drop", (), GROUP, (Argument("N|raw", Kind(_number_or_raw), many=True),),
        "a branch without inputs N…, as `inputs` numbers them; raw: who names their results stays",
        drop,
    ),
    Command(
        "move", (), GROUP, (N, Argument("M|step=S", Kind(_number_or_step)), RAW_WORD),
        "a branch with input N just before input M, or at step S", move,
    ),
    Command(
        "alter", (), GROUP,
        (N, Argument("ARG=VALUE|raw", Kind(TEXT.read, _offer_names), many=True)),
        "a branch with input N altered: an argument by name or place, do=, cpu=", alter,
    ),
    Command(
        "what-if", (), GROUP,
        (Argument("KEY=VALUE|raw", Kind(TEXT.read, _offer_keys), many=True),),
        "the same inputs on another machine, as percpu.atom_bytes=4096 schedule.seed=3", what_if,
    ),
)  # fmt: skip
