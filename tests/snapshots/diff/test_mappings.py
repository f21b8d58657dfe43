"""vmalloc areas, modules and the fixmap side by side."""

from __future__ import annotations

from snapshots.diff.mappings import fixmap_rows, module_rows, vmalloc_rows
from snapshots.diff.rows import DiffRow
from tests.kernel_sim.whole_machines import Whole


def told(rows: list[DiffRow]) -> list[tuple[object, ...]]:
    return [row[1:] for row in rows]


def space(
    *areas: tuple[object, ...], lazy: tuple[int, ...] = (), **more: object
) -> dict[str, object]:
    return {"start": 0, "end": 1 << 40, "areas": list(areas), "lazy": list(lazy)} | more


SMALL = (0x1000, 8192, "vmalloc", "f+0x1", 1, 0)


def test_areas_are_born_and_die_at_their_addresses() -> None:
    rows = list(vmalloc_rows("vmalloc", space(), space(SMALL)))
    where = "0x1000-0x2fff"
    assert told(rows) == [
        ("born", "vmalloc area", where, None, "8192 bytes, vmalloc, 1 pages, f+0x1")
    ]
    assert next(iter(vmalloc_rows("module_space", space(SMALL), space())))[1:4] == (
        "died", "module space area", where,
    )  # fmt: skip


def test_an_area_that_is_freed_lazily_says_so() -> None:
    assert told(list(vmalloc_rows("vmalloc", space(SMALL), space(SMALL, lazy=(0x1000,))))) == [
        ("born", "lazily freed vmalloc area", "0x1000", None, "lazy")
    ]


def test_fields_limits_and_spellings_are_told() -> None:
    larger = (0x1000, 8192, "vmalloc", "f+0x1", 2, 0)
    assert told(list(vmalloc_rows("vmalloc", space(SMALL), space(larger)))) == [
        ("changed", "nr_pages", "vmalloc area 0x1000-0x2fff", 1, 2)
    ]
    assert told(list(vmalloc_rows("vmalloc", space(), space(end=5))))[0][1:3] == (
        "end of vmalloc",
        "",
    )
    short, long = (0x1000, 8192, "vmalloc", "f"), (0x1000, 8192, "vmalloc", "f", 0, 0)
    assert list(vmalloc_rows("vmalloc", space(short), space(long))), "not the same bytes"
    assert not list(vmalloc_rows("vmalloc", space(SMALL), space(SMALL)))


def test_a_module_comes_changes_and_goes() -> None:
    whole = Whole()
    states = [whole.machine.modules.dump()]
    whole.load("plain", "init: a = pcpu_alloc 64 8")
    states.append(whole.machine.modules.dump())
    whole.machine.modules.modules[0].refcnt += 1
    states.append(whole.machine.modules.dump())
    (born,) = list(module_rows("modules", states[0], states[1]))
    addr = whole.machine.modules.modules[0].core_addr
    assert born[:4] == ("modules", "born", "module plain", f"{addr:#x}")
    (changed,) = list(module_rows("modules", states[1], states[2]))
    assert (changed.what, changed.now) == ("refcnt of module plain", int(str(changed.was)) + 1)
    assert next(iter(module_rows("modules", states[2], states[0]))).change == "died"
    leaks = dict(states[1]) | {"leaks": [("plain", "a", 64)]}
    assert next(iter(module_rows("modules", states[1], leaks))).what == "leaks"


def test_fixed_addresses_are_told_by_index() -> None:
    one = {"start": 0, "end": 9, "ranges": [(1, 2, "first chunk")]}
    other = one | {"ranges": [(1, 2, "first chunk"), (3, 4, "more")], "end": 8}
    assert told(list(fixmap_rows("fixmap", one, other))) == [
        ("born", "fixmap range", "from index 3", None, "4 pages, more"),
        ("changed", "end of the fixmap", "", 9, 8),
    ]
