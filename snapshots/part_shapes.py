"""What the parts of a keyframe look like: which rows of which types, and how large a number may be.

    slab  ──►  {profile: text, …, slabs: rows of (number, number, node, order, number, numbers), …}

A keyframe from a stranger is held against this before a machine takes it over, so that a text where a
number belongs is named here, with its place, and not met by whoever looks at it later. Whether the values
agree with each other is for the machine's own checks, and whether they are true for verify.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from kernel_sim.config_table import shown
from kernel_sim.mm.buddy import MAX_PAGE_ORDER
from snapshots.errors import RecordingError

Problem: TypeAlias = "str | None"
Shape: TypeAlias = Callable[[object], Problem]

SHIFT_MAX = 63
ADDRESS_MAX = (1 << 64) - 1


def _of_type(kind: type, text: str) -> Shape:
    def check(value: object) -> Problem:
        return None if type(value) is kind else f"{shown(value)}; expected {text}"

    return check


def _between(lowest: int, highest: int) -> Shape:
    def check(value: object) -> Problem:
        if type(value) is int and lowest <= value <= highest:
            return None
        return f"{shown(value)}; expected a number from {lowest} to {highest}"

    return check


def _row(*shapes: Shape) -> Shape:
    """Return the shape of a row with just these fields."""

    def check(value: object) -> Problem:
        if not isinstance(value, tuple) or len(value) != len(shapes):
            return f"{shown(value)}; expected a row of {len(shapes)}"
        for at, (field, shape) in enumerate(zip(value, shapes, strict=True)):
            problem = shape(field)
            if problem is not None:
                return f"{at}: {problem}"
        return None

    return check


def _rows(shape: Shape) -> Shape:
    """Return the shape of any number of things of one shape."""

    def check(value: object) -> Problem:
        if not isinstance(value, tuple):
            return f"{shown(value)}; expected a list"
        for at, each in enumerate(value):
            problem = shape(each)
            if problem is not None:
                return f"{at}: {problem}"
        return None

    return check


def _either(*shapes: Shape) -> Shape:
    """Return the shape of what has one of these; the last one says what is wrong."""

    def check(value: object) -> Problem:
        problem: Problem = None
        for shape in shapes:
            problem = shape(value)
            if problem is None:
                return None
        return problem

    return check


def _table(**shapes: Shape) -> Shape:
    """Return the shape of a map with just these keys."""

    def check(value: object) -> Problem:
        if not isinstance(value, dict) or value.keys() != shapes.keys():
            return f"{shown(value)}; expected {', '.join(shapes)}"
        for name, shape in shapes.items():
            problem = shape(value[name])
            if problem is not None:
                return f"{name}: {problem}"
        return None

    return check


def _map_of(shape: Shape) -> Shape:
    """Return the shape of a map from texts to things of one shape."""

    def check(value: object) -> Problem:
        if not isinstance(value, dict):
            return f"{shown(value)}; expected a map"
        for name, each in value.items():
            problem = shape(each) if isinstance(name, str) else "expected a name"
            if problem is not None:
                return f"{shown(name)}: {problem}"
        return None

    return check


def _anything(value: object) -> Problem:
    return None


def _nothing(value: object) -> Problem:
    return None if value is None else f"{shown(value)}; expected nothing"


_INT = _of_type(int, "a whole number")
_BOOL = _of_type(bool, "true or false")
_TEXT = _of_type(str, "a text")
_BYTES = _of_type(bytes, "bytes")
_COUNT = _between(0, ADDRESS_MAX)
_ORDER = _between(0, MAX_PAGE_ORDER)
_SHIFT = _between(0, SHIFT_MAX)
_NUMBER = _either(_BOOL, _INT)  # counters and flags in one row
_INTS = _rows(_INT)
_COUNTS = _rows(_COUNT)
_PAIRS = _rows(_row(_COUNT, _COUNT))
_RANGES = _rows(_row(_COUNT, _COUNT))
_BLOCKS = _rows(_row(_COUNT, _ORDER))
_HINTS = _row(*(_INT,) * 7)
_BITS = _rows(_row(_COUNT, _BYTES))
_AREA = (_COUNT, _COUNT, _TEXT, _TEXT)
_VMALLOC = _table(
    start=_COUNT, end=_COUNT, lazy_max_pages=_COUNT,
    areas=_rows(_either(_row(*_AREA, _COUNT, _INT), _row(*_AREA))),
    lazy=_COUNTS,
)  # fmt: skip
_BUDDY = _table(
    memory=_RANGES,
    free_lists=_rows(_COUNTS),
    untouched=_RANGES,
    reserved=_RANGES,
    allocated=_BLOCKS,
)
_FAULT = _table(
    settings=_map_of(_either(_nothing, _TEXT, _NUMBER)), random=_row(_COUNT, _COUNT),
    times_left=_INT, space_left=_INT, nr_at_interval=_INT, nth_left=_INT, nr_failed=_COUNT,
)  # fmt: skip
_SYMBOLS = _rows(_row(_TEXT, _COUNT, _COUNT, _TEXT, _BOOL))
_MODULE = _table(
    name=_TEXT, state=_TEXT, core=_row(_COUNT, _COUNT), init=_row(_COUNT, _COUNT),
    percpu=_row(_COUNT, _COUNT, _COUNT), sections=_rows(_row(_TEXT, _COUNT, _COUNT)),
    symbols=_SYMBOLS, exports=_SYMBOLS, refcnt=_INT, nr_holds=_INT, uses=_rows(_TEXT),
    used_by=_rows(_TEXT), script=_TEXT, variables=_rows(_row(_TEXT, _COUNT)),
    init_function=_BOOL, exit_function=_BOOL, info=_row(_TEXT, _TEXT, _rows(_TEXT)),
)  # fmt: skip

SHAPES: dict[str, Shape] = {
    "clock": _row(
        _COUNT, _row(_INT, _INT, _rows(_row(_INT, _INT)), _row(_COUNT, _COUNT)), _INT, _COUNT, _anything
    ),
    "calls": _anything,  # a keyframe with any is refused when it is loaded
    "log": _rows(_row(_INT, _TEXT)),
    "percpu": _row(_rows(_NUMBER), _COUNTS, _INTS, _rows(_INTS), _INT, _INT),
    "system": _anything,  # held against its type when it is loaded, and checked as a whole
    "vmalloc": _VMALLOC,
    "pages": _table(
        memory=_rows(_row(_COUNT, _RANGES)), distances=_rows(_COUNTS), nodes_with_cpus=_COUNTS,
        zones=_rows(_table(name=_TEXT, node=_COUNT, buddy=_BUDDY)), numa_hit=_COUNTS,
        numa_miss=_COUNTS, numa_foreign=_COUNTS, fail_after=_INT,
    ),
    "tables": _COUNTS,
    "page_lists": _either(
        _table(),
        _table(
            profile=_TEXT, arch=_TEXT, min_free_kbytes=_either(_nothing, _COUNT), khugepaged=_BOOL,
            online_cpus_of_node=_rows(_row(_COUNT, _COUNT)), node_of_cpu=_INTS,
            lists=_rows(_rows(_row(_COUNT, _rows(_row(_COUNTS, _SHIFT))))), numa=_rows(_COUNTS),
            fault=_either(_nothing, _FAULT),
        ),
    ),
    "slab": _table(
        profile=_TEXT, cache_line_bytes=_COUNT, nr_cpus=_COUNT, arch=_TEXT,
        slabs=_rows(_row(_COUNT, _COUNT, _COUNT, _ORDER, _COUNT, _COUNTS)),
        partial=_rows(_row(_COUNT, _COUNT, _COUNTS)), large=_BLOCKS,
    ),
    "held_pages": _BLOCKS,
    "modules": _table(modules=_rows(_MODULE), init_free=_COUNTS, leaks=_rows(_row(_TEXT, _TEXT, _COUNT))),
    "module_space": _VMALLOC,
    "fixmap": _table(start=_COUNT, end=_COUNT, ranges=_rows(_row(_COUNT, _COUNT, _TEXT))),
    "cpus": _row(
        _rows(_row(_COUNT, _BOOL, _COUNT, _INT)), _COUNTS, _either(_row(), _row(_COUNT, _COUNT))
    ),
    "tlb": _table(
        profile=_TEXT, by_sets=_BOOL,
        sets=_rows(_row(_COUNT, _COUNT, _rows(_row(_COUNT, _SHIFT, _COUNT, _COUNT)))),
        counters=_map_of(_COUNT),
    ),
    "chunk": _row(_rows(_NUMBER), _BYTES, _HINTS, _rows(_row(_COUNT, _HINTS)), _BITS, _BITS, _INTS),
    "frame": _BYTES,
}  # fmt: skip
"""By what stands before the point in a part's name."""


def check_part(name: str, part: object) -> None:
    """Raise RecordingError unless a part looks as one of its name does."""
    shape = SHAPES.get(name.partition(".")[0])
    if shape is None:
        raise RecordingError(f"part {shown(name)}: no machine has such a part")
    problem = shape(part)
    if problem is not None:
        raise RecordingError(f"part {shown(name)}: {problem}")
