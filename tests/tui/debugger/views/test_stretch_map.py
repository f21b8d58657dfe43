from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.percpu.stretch import (
    DYNAMIC,
    FREE,
    HOLE,
    KINDS,
    MODULE,
    PADDING,
    STATIC,
    TABLE,
    Stretch,
)
from tests.tui.debugger.test_strips import index_of
from tests.tui.system_sessions import EVERY, OTHERS, busy_session_of, ptrs_of, tell
from tui.debugger.errors import CommandError
from tui.debugger.strips import Strip
from tui.debugger.views.chunk_map import CHANGED, KIND_BITS, OBJECT
from tui.debugger.views.stretch_map import (
    GLYPHS,
    LEGEND,
    LEGEND_MEANS,
    OF_KIND,
    STYLES,
    Cell,
    cells_text,
    head_lines,
    map_view,
    mark_changes,
    mark_object,
    row_codes,
)


def strip_of(*pieces: tuple[str, int]) -> Strip:
    at, found = 0x1000, []
    for number, (kind, size) in enumerate(pieces, 1):
        found.append(Stretch("s", at, size, kind, kind, 0, number if kind == DYNAMIC else 0))
        at += size
    return index_of(*found).read_all()[0]


def text_of(strip: Strip, bytes_per_cell: int, nr_cells: int = 16, start: int = 0) -> str:
    return cells_text(row_codes(strip, start, nr_cells, bytes_per_cell))


def test_each_kind_has_a_glyph_a_colour_and_a_word() -> None:
    assert set(OF_KIND) == set(KINDS)
    assert set(GLYPHS) == set(STYLES) == set(Cell)
    assert len(LEGEND) == len(LEGEND_MEANS)
    assert max(Cell) <= KIND_BITS


def test_cells_show_what_their_bytes_are() -> None:
    strip = strip_of(
        (STATIC, 16), (PADDING, 4), (DYNAMIC, 8), (DYNAMIC, 4), (FREE, 8), (HOLE, 8), (TABLE, 8)
    )
    assert text_of(strip, 4) == "════╱██▓░░··≡≡"
    assert text_of(strip, 4, start=16) == "╱██▓░░··≡≡"
    assert text_of(strip, 4, nr_cells=3) == "═══"


def test_a_cell_of_several_kinds_tells_how_much_is_in_use() -> None:
    assert text_of(strip_of((DYNAMIC, 4), (FREE, 28)), 32) == "▂"
    assert text_of(strip_of((DYNAMIC, 16), (FREE, 16)), 32) == "▄"
    assert text_of(strip_of((DYNAMIC, 28), (FREE, 4)), 32) == "▆"
    assert text_of(strip_of((DYNAMIC, 16), (DYNAMIC, 16)), 32) == "█"
    assert text_of(strip_of((STATIC, 28), (FREE, 4)), 32) == "═"
    assert row_codes(strip_of((MODULE, 4), (FREE, 28)), 0, 1, 32)[0] == Cell.MODULE_LOW
    assert text_of(strip_of((PADDING, 8), (FREE, 24)), 32) == "░"


@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 20)), min_size=1, max_size=20),
    st.sampled_from([1, 2, 4, 8, 32]),
    st.integers(0, 5),
)
def test_rows_agree_with_looking_at_every_byte(
    pieces: list[tuple[str, int]], bytes_per_cell: int, row: int
) -> None:
    strip = strip_of(*pieces)
    kinds = [kind for kind, size in pieces for _ in range(size)]
    start = row * 8 * bytes_per_cell
    codes = row_codes(strip, start, 8, bytes_per_cell)
    for cell, code in enumerate(codes):
        inside = kinds[start + cell * bytes_per_cell :][:bytes_per_cell]
        if not inside:
            assert code == Cell.OUTSIDE
        elif len(set(inside)) == 1:
            assert GLYPHS[code] in (GLYPHS[OF_KIND[inside[0]]], "▓")
            assert STYLES[code].removesuffix("-odd") == STYLES[OF_KIND[inside[0]]]
        elif DYNAMIC in inside or MODULE in inside:
            assert code in (OF_KIND[STATIC], Cell.DYNAMIC, Cell.MODULE, *range(Cell.LOW, 18))
        else:
            most = max(inside.count(kind) for kind in inside)
            assert code in [OF_KIND[kind] for kind in inside if inside.count(kind) == most]


def test_the_object_and_what_changed_are_marked() -> None:
    strip = strip_of((DYNAMIC, 8), (FREE, 8), (DYNAMIC, 6), (FREE, 10))
    codes = row_codes(strip, 0, 8, 4)
    mark_object(codes, strip, 0, 4, 3)
    assert [bool(code & OBJECT) for code in codes] == [False] * 4 + [True, True, False, False]
    now = row_codes(strip_of((DYNAMIC, 8), (DYNAMIC, 4), (FREE, 20)), 0, 8, 4)
    mark_changes(now, row_codes(strip, 0, 8, 4))
    # The second area's shade is no change, what it took is; where the third was, is one too.
    assert [cell for cell, code in enumerate(now) if code & CHANGED] == [2, 4, 5]


@pytest.mark.parametrize(("system", "arch"), EVERY)
def test_the_map_of_every_system_shows_all_its_memory(system: str, arch: str) -> None:
    session = busy_session_of(system, arch)
    table = map_view(session)
    assert session.machine.system.name in table.title
    total = sum(row[2] for row in table.rows if isinstance(row[2], int))
    assert total == sum(each.size_bytes for each in session.machine.system.stretches())
    text = "".join(str(row[5]) for row in table.rows)
    kinds = {each.kind for each in session.machine.system.stretches()}
    # A long run of a kind is seen; what is smaller than a cell may not be.
    assert ("═" in text) == ("static" in kinds)
    assert tell(session, "map 64").table is not None
    with pytest.raises(CommandError, match="power of two"):
        tell(session, "map 100")


@pytest.mark.parametrize("system", OTHERS)
def test_the_head_names_the_system_and_its_figures(system: str) -> None:
    session = busy_session_of(system)
    head, *figures = head_lines(session.machine, 60)
    assert head.startswith(f"{system}: ")
    assert figures and all(len(line) <= 60 for line in figures)
    for name, _ in session.machine.system.facts():
        assert any(name.replace("_", " ") in line for line in figures)
    assert ptrs_of(session)
