"""What lies at kernel addresses in two states: vmalloc areas, modules, the fixmap.

vmalloc    an area by its first address; freed but not yet purged is a state of its own: lazy
modules    a module by its name; its fields are those of struct module
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, cast

from snapshots.diff.rows import (
    BORN,
    DIED,
    MODULES,
    VMALLOC,
    DiffRow,
    Kept,
    keyed_rows,
    leaf_rows,
    order_rows,
    shown,
)

State: TypeAlias = "Mapping[str, object]"
Fields: TypeAlias = "tuple[object, ...]"
AREA_FIELDS = ("size_bytes", "kind", "caller", "nr_pages", "phys")
NOT_THERE: State = {}


def _area_brief(row: Fields) -> str:
    size_bytes, kind, caller, nr_pages, _ = row
    pages = f", {nr_pages} pages" if nr_pages else ""
    return f"{size_bytes} bytes, {kind}{pages}, {caller}".rstrip(", ")


def _kept_areas(what: str) -> Kept:
    return Kept(
        VMALLOC, AREA_FIELDS,
        what=lambda key, row: what,
        where=lambda key, row: f"{key:#x}-{cast('int', key) + cast('int', row[0]) - 1:#x}",
        brief=_area_brief,
    )  # fmt: skip


def vmalloc_rows(name: str, was: object, now: object) -> Iterator[DiffRow]:
    """Yield what is not the same in part `vmalloc` or `module_space`."""
    old, new = cast("State", was or NOT_THERE), cast("State", now or NOT_THERE)
    noun = "vmalloc area" if name == "vmalloc" else "module space area"
    sides = [
        {
            area[0]: (*area[1:4], *(area[4:] or (0, 0)))
            for area in cast("Sequence[Fields]", side.get("areas", ()))
        }
        for side in (old, new)
    ]
    rows = list(keyed_rows(_kept_areas(noun), *sides))
    yield from rows
    if not rows:
        yield from leaf_rows(VMALLOC, f"{noun}s", old.get("areas"), new.get("areas"))
    yield from _lazy_rows(
        noun, *(cast("Sequence[int]", side.get("lazy", ())) for side in (old, new))
    )
    for key in {**old, **new}:
        if key not in ("areas", "lazy"):
            yield from leaf_rows(VMALLOC, f"{key} of {name}", old.get(key), new.get(key))


def _lazy_rows(noun: str, was: Sequence[int], now: Sequence[int]) -> Iterator[DiffRow]:
    for word, mine, yours in ((DIED, was, now), (BORN, now, was)):
        known = dict.fromkeys(yours)
        for start in (start for start in mine if start not in known):
            cells = ("lazy", None) if word == DIED else (None, "lazy")
            yield DiffRow(VMALLOC, word, f"lazily freed {noun}", f"{start:#x}", *cells)
    yield from order_rows(VMALLOC, f"lazily freed {noun}s", was, now)


# -- modules ---------------------------------------------------------------------------------------


def module_rows(name: str, was: object, now: object) -> Iterator[DiffRow]:
    """Yield what is not the same in part `modules`."""
    old, new = cast("State", was or NOT_THERE), cast("State", now or NOT_THERE)
    old_modules, new_modules = (_by_name(side) for side in (old, new))
    for key in {**old_modules, **new_modules}:
        yield from _module_rows(key, old_modules.get(key), new_modules.get(key))
    yield from order_rows(MODULES, "modules", old_modules, new_modules)
    for key in {**old, **new}:
        if key != "modules":
            yield from leaf_rows(MODULES, key, old.get(key), new.get(key))


def _by_name(state: State) -> dict[str, State]:
    modules = cast("Sequence[State]", state.get("modules", ()))
    return {str(module["name"]): module for module in modules}


def _module_rows(name: str, was: State | None, now: State | None) -> Iterator[DiffRow]:
    title = f"module {name}"
    if was is None or now is None:
        known = was or now or NOT_THERE
        where = f"{_number(known, 'core'):#x}"
        word = BORN if was is None else DIED
        yield DiffRow(MODULES, word, title, where, _module_brief(was), _module_brief(now))
        return
    for field in {**was, **now}:
        yield from leaf_rows(MODULES, f"{field} of {title}", was.get(field), now.get(field))


def _number(module: State, field: str, index: int = 0) -> int:
    row = cast("Sequence[int]", module.get(field) or (0, 0, 0))
    return row[index]


def _module_brief(module: State | None) -> str | None:
    if module is None:
        return None
    size_bytes = _number(module, "core", 1) + _number(module, "init", 1)
    percpu_bytes = _number(module, "percpu", 1)
    percpu = f", {percpu_bytes} per-CPU bytes" if percpu_bytes else ""
    return f"{module.get('state')}, {size_bytes} bytes{percpu}"


# -- fixed addresses -------------------------------------------------------------------------------

FIXED = Kept(
    VMALLOC, ("nr_pages", "name"),
    what=lambda key, row: "fixmap range",
    where=lambda key, row: f"from index {key}",
    brief=lambda row: f"{row[0]} pages, {shown(row[1])}",
)  # fmt: skip


def fixmap_rows(name: str, was: object, now: object) -> Iterator[DiffRow]:
    """Yield what is not the same in part `fixmap`."""
    old, new = cast("State", was or NOT_THERE), cast("State", now or NOT_THERE)
    sides = [
        {row[0]: tuple(row[1:]) for row in cast("Sequence[Fields]", side.get("ranges", ()))}
        for side in (old, new)
    ]
    yield from keyed_rows(FIXED, *sides)
    yield from order_rows(VMALLOC, "fixmap ranges", *sides)
    for key in {**old, **new}:
        if key != "ranges":
            yield from leaf_rows(VMALLOC, f"{key} of the fixmap", old.get(key), new.get(key))
