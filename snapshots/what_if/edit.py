"""What if: a run with inputs dropped, moved or altered, or on another machine; the recorded one stays.

    #10 #11 #12 #13 …      drop(11)       ──► a branch from where #11's stretch of calls began: #10 #12 #13 …
                           configure(…)   ──► a fresh machine, and all inputs from boot on

What follows an edit follows by the rules of program.py: placement changes, numbers that name results go
with them, who names the result of a call that is gone or gave nothing is dropped along and told. The machine
may refuse an input that it could take before, or stop at a fault: both are told, neither is an error.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, cast

from kernel_sim.boot import boot
from kernel_sim.call import Arg
from kernel_sim.config import MachineConfig
from kernel_sim.errors import KernelBug
from kernel_sim.inputs import KNOBS, SIGNATURES
from kernel_sim.machine import Machine
from kernel_sim.percpu.catalogue import CATALOGUE
from snapshots.errors import InputError
from snapshots.timeline import Timeline
from snapshots.what_if.program import Left, Played, Player, Program, Row, TimelineRun, Told
from snapshots.what_if.retrace import program_of

OF_AN_INPUT = ("do", "cpu")  # what can be altered besides its arguments
PLACE_KEYS = ("group_phys",)  # where one system's memory was, not another's
LAYOUT_KEYS = (
    "static_bytes", "reserved_bytes", "dynamic_bytes", "atom_bytes", "first_chunk", "distance_fn",
)  # fmt: skip


class Drop(NamedTuple):
    """An input has not happened."""

    number: int


class Move(NamedTuple):
    """An input happened at another time: when another one did, just before it, or at a step."""

    number: int
    before: int | None = None
    step: int | None = None


class Alter(NamedTuple):
    """An input was another one: its `do`, its `cpu`, or an argument by name or by place from 0."""

    number: int
    what: str
    value: Arg


class Configure(NamedTuple):
    """The machine was another one: a dotted key of its description, such as percpu.dynamic_bytes."""

    key: str
    value: object


Edit: TypeAlias = Drop | Move | Alter | Configure


@dataclass(frozen=True, slots=True)
class Edited:
    """A run that was made of another one.

    began_at: the step from which it is its own. numbers: which input of it was which one before.
    """

    timeline: Timeline
    began_at: int
    dropped: tuple[int, ...]
    along: tuple[Left, ...]
    refused: tuple[Left, ...]
    stopped: tuple[Left, ...]
    numbers: Mapping[int, int]


def edited(
    timeline: Timeline,
    edits: Sequence[Edit],
    *,
    keep_raw: bool = False,
    program: Program | None = None,
) -> Generator[Told, None, Edited]:
    """Make the edited run, in slices; yields how many inputs are done, of how many.

    keep_raw: who names a result that is not there any more keeps the number it had. program: that of the
    timeline, if it is known. Without a change of config the new timeline is a branch, and has the machine;
    else the machine is a new one. It stands at its end. If this is given up half way, the old timeline is
    as it was and must be sought before it goes on.

    Raises InputError for an input, argument or time that there is not, ConfigError for a machine that
    cannot be, RecordingError for a file that no machine can follow.
    """
    if program is None:
        program, _ = yield from program_of(timeline)
    config = _configured(timeline, program.config, edits)
    rows, first = edited_rows(timeline.machine, program.rows, edits)
    if config != program.config:
        branch, first = Timeline(boot(config)), 0
    else:
        first = _stretch_begin(rows, program.rows, first)
        step = program.rows[first].step if first < len(program.rows) else timeline.end_step
        yield from ((here, step) for here in timeline.moves(step))
        branch = timeline.fork()
        if first < len(program.rows) and branch.nr_inputs != program.rows[first].number:
            raise KernelBug(
                f"step {step}: the branch has {branch.nr_inputs} inputs, expected"
                f" {program.rows[first].number}"
            )
    began_at, taker = branch.step, TimelineRun(branch)
    before = program.rows[:first]
    player = Player(
        taker, rows[first:], results={row.number: program.results[row.number] for row in before
        if row.number in program.results}, do_of={row.number: row.do for row in before},
        keep_raw=keep_raw,
    )  # fmt: skip
    played = yield from player.play(program.tail_steps)
    numbers = {row.number: row.number for row in before} | taker.index_of
    return _told(branch, began_at, edits, played, numbers)


def _told(
    branch: Timeline, began_at: int, edits: Sequence[Edit], played: Played, numbers: dict[int, int]
) -> Edited:
    dropped = tuple(edit.number for edit in edits if isinstance(edit, Drop))
    return Edited(
        branch, began_at, dropped, tuple(played.along), tuple(played.refused),
        tuple(played.stopped), {here: there for there, here in numbers.items()},
    )  # fmt: skip


def _stretch_begin(rows: list[Row], recorded: list[Row], first: int) -> int:
    """Return where to leave the recorded run: where the machine was idle at or before row first."""
    while first > 0 and not (first < len(recorded) and recorded[first].when_idle):
        first -= 1
    return first


# -- rows ------------------------------------------------------------------------------------------


def edited_rows(
    machine: Machine, recorded: Sequence[Row], edits: Sequence[Edit]
) -> tuple[list[Row], int]:
    """Return the rows with all edits made, in their order, and the place of the first that differs.

    Numbers are those of the recording, also behind other edits. Raises InputError.
    """
    rows = list(recorded)
    for edit in edits:
        if isinstance(edit, Configure):
            continue
        place = _place_of(rows, edit.number)
        if isinstance(edit, Drop):
            del rows[place]
        elif isinstance(edit, Alter):
            rows[place] = altered(machine, rows[place], edit.what, edit.value)
        else:
            _move(rows, rows.pop(place), edit)
    pairs = zip(rows, recorded, strict=False)
    same = next((at for at, (new, old) in enumerate(pairs) if new != old), None)
    return rows, min(len(rows), len(recorded)) if same is None else same


def _place_of(rows: list[Row], number: int) -> int:
    for place, row in enumerate(rows):
        if row.number == number:
            return place
    if not rows:
        raise InputError(f"input {number}: there is none; the run has no inputs left")
    raise InputError(
        f"input {number}: there is none, or it was dropped; expected a number that `inputs` shows,"
        f" {rows[0].number} to {max(row.number for row in rows)}"
    )


def _move(rows: list[Row], row: Row, edit: Move) -> None:
    own_stretch = -1 - row.number  # nobody else's: those it leaves behind do not follow it
    if edit.before is not None:
        if edit.before == edit.number:
            raise InputError(f"input {edit.number} cannot be moved before itself")
        place = _place_of(rows, edit.before)
    elif edit.step is not None and edit.step >= 0:
        step = edit.step
        place = next((at for at, each in enumerate(rows) if each.step >= step), len(rows))
    else:
        raise InputError(
            f"input {edit.number}: moved where? expected an input before it, or a step"
        )
    there = rows[place] if place < len(rows) else None
    if there is not None and edit.step is not None and there.step != edit.step:
        there = None
    if there is not None and not there.when_idle:
        row = row._replace(step=there.step, stretch=there.stretch, when_idle=False)
    elif there is None and place:
        step = edit.step if edit.step is not None else row.step
        row = row._replace(step=step, stretch=rows[place - 1].stretch, when_idle=False)
    else:
        row = row._replace(stretch=own_stretch, when_idle=True)
    rows.insert(place, row)


def altered(machine: Machine, row: Row, what: str, value: Arg) -> Row:
    """Return a row with one thing altered. Raises InputError."""
    if what == "cpu":
        if isinstance(value, bool) or not isinstance(value, int) or value not in machine.cpus:
            raise InputError(f"input {row.number}: cpu {value!r}: there is no such CPU")
        return row._replace(cpu=value)
    if what == "do":
        return _with_do(row, value)
    index = argument_index(machine, row, what)
    expected = type(row.args[index])
    if type(value) is not expected:
        raise InputError(
            f"input {row.number}: {what} is {value!r:.80}; expected {expected.__name__}"
        )
    args = list(row.args)
    args[index] = value
    references = tuple(each for each in row.references if each.argument != index)
    return row._replace(args=tuple(args), references=references)


def _with_do(row: Row, do: Arg) -> Row:
    """Return the row as another call or knob, which must take the arguments that are there."""
    expected = SIGNATURES.get(str(do))
    if expected is None or tuple(map(type, row.args)) != expected:
        fitting = [
            name for name, kinds in SIGNATURES.items() if kinds == tuple(map(type, row.args))
        ]
        raise InputError(
            f"input {row.number}: {do!r} does not take its arguments; these do: {', '.join(fitting)}"
        )
    return row._replace(do=str(do))


def argument_names(machine: Machine, do: str) -> tuple[str, ...]:
    """Return the names of an input's arguments behind the CPU, as the kernel's functions have them."""
    function = machine.call_table.get(do)
    if function is not None:
        return tuple(inspect.signature(function).parameters)[1:]
    if do in KNOBS:
        return tuple(inspect.signature(KNOBS[do]).parameters)[2:]
    return ()


def argument_index(machine: Machine, row: Row, what: str) -> int:
    """Return the place of an argument by its name or its place as text. Raises InputError."""
    names = argument_names(machine, row.do)[: len(row.args)]
    if what in names:
        return names.index(what)
    if what.isascii() and what.isdigit() and len(what) <= 2 and int(what) < len(row.args):
        return int(what)
    known = ", ".join((*names, *OF_AN_INPUT))
    raise InputError(f"input {row.number}: {row.do} has no {what!r}; expected one of {known}")


# -- the machine -----------------------------------------------------------------------------------


def _configured(timeline: Timeline, config: MachineConfig, edits: Sequence[Edit]) -> MachineConfig:
    changes = [edit for edit in edits if isinstance(edit, Configure)]
    if not changes:
        return config
    if timeline.first_step:
        raise InputError(
            f"the run begins at step {timeline.first_step}: on another machine it would have to begin"
            f" with boot; expected a recording from step 0 on"
        )
    return configured(config, {edit.key: edit.value for edit in changes})


def configured(config: MachineConfig, changes: Mapping[str, object]) -> MachineConfig:
    """Return a machine's description with dotted keys changed. Raises ConfigError, InputError.

    Where the groups of the first chunk lay is left to boot again if their size may change. Another per-CPU
    system takes over of [percpu] what it has keys for, and begins with its usual switches.
    """
    mapping = config.to_mapping()
    _change_system(mapping, str(changes.get("percpu.system", config.percpu.system)))
    for key, value in changes.items():
        inner: object = mapping
        *way, last = key.split(".")
        for name in way:
            inner = inner.get(name) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or not way:
            tables = [name for name, each in mapping.items() if isinstance(each, dict)]
            raise InputError(
                f"{key}: no key of a machine; expected TABLE.KEY with one of {', '.join(tables)}"
            )
        inner[last] = value
    percpu = cast("dict[str, object]", mapping["percpu"])
    is_other_layout = any(f"percpu.{key}" in changes for key in LAYOUT_KEYS)
    if is_other_layout and "percpu.group_phys" not in changes:
        percpu.pop("group_phys", None)
    return MachineConfig.from_mapping(mapping, where="what if")


def _change_system(mapping: dict[str, object], system: str) -> None:
    """Prepare [percpu] for a system: without what another one had, with a table for its switches."""
    percpu = cast("dict[str, object]", mapping["percpu"])
    entry = CATALOGUE.get(system)
    if entry is None:  # the description will say so
        return
    if percpu.get("system") != system:
        taken = ("static_bytes", *(key for key in entry.keys if key not in PLACE_KEYS))
        mapping["percpu"] = percpu = {key: percpu[key] for key in taken if key in percpu}
        percpu["system"] = system
    if entry.options:
        percpu.setdefault("options", {})
