"""A segment's inputs and events by columns, as schema 3 packs them.

    inputs of one kind (pcpu_alloc)        events of one kind (percpu_alloc_percpu)
      size  align  …  site                   call_site  size  base_addr  off  ptr  …
        │                                        │       │                    │
        └── what an event repeats of its input ──┴───────┘   base_addr + off ─┘ + a constant

What one can be told from another is packed as that, so most of a column is nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from operator import sub
from typing import TypeAlias, cast

from kernel_sim.events import (
    EVENT_NAMES,
    Event,
    EventAt,
    PercpuAllocPercpu,
    PercpuFreePercpu,
)
from kernel_sim.inputs import Input
from snapshots.columns import SAME, Packed, Place, pack_column, pack_related, unpack_column
from snapshots.errors import RecordingError

Columns: TypeAlias = "list[Sequence[object]]"
ROWS = tuple(EVENT_NAMES)
CODES = {row: code for code, row in enumerate(EVENT_NAMES)}
CELLS_MAX = (
    1 << 22
)  # of a packed segment: a column of equal values says with few bytes that it is long
ALLOC, FREE = "pcpu_alloc", "free_percpu"

AS_OFTEN = 0  # the factor is how many times the other goes into the value, in the first row

# field of an event -> what its value can be told from, times what: an earlier field, an argument of its input
Source: TypeAlias = "tuple[str | tuple[str, int], int]"
SOURCES: dict[type, dict[str, tuple[Source, ...]]] = {
    PercpuAllocPercpu: {
        "call_site": (((ALLOC, 4), 1),),
        "reserved": (((ALLOC, 2), 1),),
        "size": (((ALLOC, 0), 1),),
        "align": (((ALLOC, 1), 1),),
        "gfp_flags": (((ALLOC, 3), 1),),
        "ptr": (("base_addr", 1), ("off", 1)),
        "bytes_alloc": (("size", AS_OFTEN),),
    },
    PercpuFreePercpu: {
        "off": (((FREE, 0), 1), ("base_addr", -1)),
        "ptr": (((FREE, 0), 1),),
    },
}


def pack_inputs(inputs: Sequence[Input]) -> tuple[Packed, dict[str, tuple[int, Columns]], int]:
    """Return the packed inputs, the columns of arguments by the name of the call, and the number of cells."""
    if not inputs:
        return _packed_heads((), (), (), (), ()), {}, 0
    steps, dos, cpus, argss, lines, bys = zip(*inputs, strict=True)
    kinds: Sequence[object] = dos
    groups: dict[object, list[tuple[object, ...]]] = defaultdict(list)
    for do, args in zip(dos, argss, strict=True):
        groups[do].append(args)
    if any(len(set(map(len, rows))) > 1 for rows in groups.values()):
        groups.clear()  # a call with other numbers of arguments, which no machine takes
        kinds = [(do, len(args)) for do, args in zip(dos, argss, strict=True)]
        for kind, args in zip(kinds, argss, strict=True):
            groups[kind].append(args)
    numbers = {kind: number for number, kind in enumerate(groups)}
    named: dict[str, tuple[int, Columns]] = {}
    packed_groups: list[Packed] = []
    nr_cells = 5 * len(inputs)
    for kind, rows in groups.items():
        do = kind if isinstance(kind, str) else cast("tuple[str, int]", kind)[0]
        columns: Columns = list(zip(*rows, strict=True))
        nr_cells += len(columns) * len(rows)
        named.setdefault(do, (numbers[kind], columns))
        packed_groups.append((do, len(rows), tuple(pack_column(column) for column in columns)))
    of_row = list(map(numbers.__getitem__, kinds))
    return _packed_heads(of_row, _gaps(steps), cpus, lines, bys, packed_groups), named, nr_cells


def _packed_heads(*columns: Sequence[object]) -> Packed:
    """Return what every input has, by columns, and last the groups, which are packed already."""
    if not columns[0]:
        return (*(pack_column(column) for column in columns), ())
    return (*(pack_column(column) for column in columns[:-1]), columns[-1])


def _gaps(steps: Sequence[int]) -> list[int]:
    return list(map(sub, steps, (0, *steps)))


def pack_events(
    events: Sequence[EventAt], named: dict[str, tuple[int, Columns]]
) -> tuple[Packed, int]:
    """Return the packed events and the number of cells; named is what pack_inputs() returns."""
    if not events:
        return _packed_heads((), (), ()), 0
    steps, cpus, happened = zip(*events, strict=True)
    kinds = list(map(type, happened))
    groups: dict[type, list[tuple[object, ...]]] = defaultdict(list)
    for kind, event in zip(kinds, happened, strict=True):
        groups[kind].append(event)
    packed_groups: list[Packed] = []
    nr_cells = 3 * len(events)
    for number, (kind, rows) in enumerate(groups.items()):
        columns: Columns = list(zip(*rows, strict=True))
        nr_cells += len(columns) * len(rows)
        packed_groups.append(
            (CODES[kind], len(rows), _pack_fields(kind, columns, named, -1 - number))
        )
    numbers = {kind: number for number, kind in enumerate(groups)}
    of_row = list(map(numbers.__getitem__, kinds))
    return _packed_heads(of_row, _gaps(steps), cpus, packed_groups), nr_cells


def _pack_fields(
    kind: type, columns: Columns, named: dict[str, tuple[int, Columns]], group: int
) -> Packed:
    fields: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    return tuple(
        _pack_field(column, SOURCES.get(kind, {}).get(name, ()), fields, columns, named, group)
        for name, column in zip(fields, columns, strict=True)
    )


def _pack_field(
    column: Sequence[object],
    sources: tuple[Source, ...],
    fields: tuple[str, ...],
    columns: Columns,
    named: dict[str, tuple[int, Columns]],
    group: int,
) -> Packed:
    if not _are_ints(column) or min(cast("Sequence[int]", column)) < 0:
        return pack_column(column)
    found: list[tuple[Place, Sequence[int], int]] = []
    for source, factor in sources:
        if isinstance(source, str):
            number = fields.index(source)
            place, others = (group, number), columns[number]
        else:
            input_group, input_columns = named.get(source[0], (0, []))
            if len(input_columns) <= source[1]:
                continue
            place, others = (input_group, source[1]), input_columns[source[1]]
        if len(others) != len(column):
            continue
        if column == others and list(map(type, column)) == list(map(type, others)):
            return (SAME, *place)
        if not _are_ints(others):
            continue
        times = cast("Sequence[int]", others)
        found.append((place, times, factor or _times(cast("int", column[0]), times[0])))
    if not found:
        return pack_column(column)
    return pack_related(cast("Sequence[int]", column), found)


def _times(value: int, other: int) -> int:
    return value // other if other else 1


def _are_ints(values: Sequence[object]) -> bool:
    return set(map(type, values)) == {int}


class Unpacked:
    """The columns unpacked so far, by group: inputs' are 0, 1, 2 …, events' -1, -2, …"""

    def __init__(self) -> None:
        self.groups: dict[int, Columns] = {}
        self.nr_cells = 0

    def find(self, group: int, column: int) -> Sequence[object]:
        """Return a column. Raises RecordingError."""
        columns = self.groups.get(group, [])
        if not 0 <= column < len(columns):
            raise RecordingError(
                f"a column rests on column {column} of group {group}: there is none"
            )
        return columns[column]

    def column(self, packed: object, nr_rows: int) -> Sequence[object]:
        """Unpack one column, if the segment may have so many cells."""
        if nr_rows < 0:
            raise RecordingError(f"a segment has {nr_rows} rows")
        self.nr_cells += nr_rows
        if self.nr_cells > CELLS_MAX:
            raise RecordingError(f"a segment has more than {CELLS_MAX} cells")
        return unpack_column(packed, nr_rows, self.find)

    def group(self, number: int, packed_columns: object, nr_rows: int) -> list[tuple[object, ...]]:
        """Unpack the columns of a group and return its rows."""
        columns = self.groups.setdefault(number, [])
        for packed in cast("list[object]", packed_columns):
            columns.append(self.column(packed, nr_rows))
        return list(zip(*columns, strict=True)) if columns else [()] * nr_rows


def unpack_rows(
    packed: object, nr_inputs: int, nr_events: int
) -> tuple[list[Input], list[EventAt]]:
    """Return what pack_inputs() and pack_events() were given. Raises: as unpack_inputs()."""
    unpacked = Unpacked()
    inputs, events = cast("tuple[object, object]", packed)
    given = unpack_inputs(unpacked, inputs, nr_inputs)
    return given, unpack_events(unpacked, events, nr_events)


def unpack_inputs(unpacked: Unpacked, packed: object, nr_rows: int) -> list[Input]:
    """Return what pack_inputs() was given.

    Raises RecordingError; TypeError, ValueError, LookupError or StopIteration for what is not even shaped so.
    """
    *packed_heads, packed_groups = cast("list[object]", packed)
    heads = [unpacked.column(column, nr_rows) for column in packed_heads]
    kinds, gaps, cpus, lines, bys = heads
    groups: list[tuple[str, list[tuple[object, ...]]]] = []
    nr_left = nr_rows
    for number, (do, nr, columns) in enumerate(
        cast("list[tuple[str, int, object]]", packed_groups)
    ):
        if not isinstance(do, str):
            raise RecordingError(f"a group of inputs is called {do!r}")
        nr_left -= _nr(nr, nr_left)
        groups.append((do, unpacked.group(number, columns, nr)))
    _check_all_told(nr_left)
    _check_kinds(heads[:4], (bys,))
    iterators = [iter(rows) for _, rows in groups]
    names = [do for do, _ in groups]
    found: list[Input] = []
    step = 0
    for kind, gap, cpu, line, by in cast(
        "zip[tuple[int, int, int, int, str]]", zip(kinds, gaps, cpus, lines, bys, strict=True)
    ):
        step += gap
        args = cast("tuple[int, ...]", next(iterators[kind]))
        found.append(Input(step, names[kind], cpu, args, line, by))
    return found


def unpack_events(unpacked: Unpacked, packed: object, nr_rows: int) -> list[EventAt]:
    """Return what pack_events() was given, after the inputs of that segment. Raises: as unpack_inputs()."""
    *packed_heads, packed_groups = cast("list[object]", packed)
    heads = [unpacked.column(column, nr_rows) for column in packed_heads]
    kinds, gaps, cpus = heads
    iterators = []
    makers = []
    nr_left = nr_rows
    for number, (code, nr, columns) in enumerate(
        cast("list[tuple[int, int, object]]", packed_groups)
    ):
        if type(code) is not int or not 0 <= code < len(ROWS):
            raise RecordingError(f"there is no event number {code!r}")
        nr_left -= _nr(nr, nr_left)
        rows = unpacked.group(-1 - number, columns, nr)
        if rows and len(rows[0]) != len(ROWS[code]._fields):  # type: ignore[attr-defined]
            raise RecordingError(f"an event {EVENT_NAMES[ROWS[code]]} has {len(rows[0])} fields")
        makers.append(ROWS[code]._make)  # type: ignore[attr-defined]
        iterators.append(iter(rows))
    _check_all_told(nr_left)
    _check_kinds(heads, ())
    found: list[EventAt] = []
    step = 0
    for kind, gap, cpu in cast("zip[tuple[int, int, int]]", zip(kinds, gaps, cpus, strict=True)):
        step += gap
        found.append(EventAt(step, cpu, cast("Event", makers[kind](next(iterators[kind])))))
    return found


def _nr(nr_rows: object, nr_left: int) -> int:
    if type(nr_rows) is not int or not 0 <= nr_rows <= nr_left:
        raise RecordingError(f"a group has {nr_rows!r:.40} of {nr_left} rows")
    return nr_rows


def _check_all_told(nr_left: int) -> None:
    """Refuse groups that are not all rows: one without columns claims any number with a few bytes."""
    if nr_left:
        raise RecordingError(f"{nr_left} rows of a segment are in no group")


def _check_kinds(numbers: Sequence[Sequence[object]], texts: Sequence[Sequence[object]]) -> None:
    for column in numbers:
        if not set(map(type, column)) <= {int}:
            raise RecordingError("a column of numbers holds something else")
    for column in texts:
        if not set(map(type, column)) <= {str}:
            raise RecordingError("a column of texts holds something else")
    if any(cast("int", kind) < 0 for kind in numbers[0]):
        raise RecordingError("a row names a group below 0")
