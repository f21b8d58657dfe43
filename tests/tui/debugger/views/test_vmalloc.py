from __future__ import annotations

from tests.tui.debugger.conftest import OBJECTS
from tests.tui.debugger.views.conftest import column
from tui.debugger.session import Session
from tui.debugger.views.vmalloc import vmalloc_view


def test_vmalloc_names_the_chunk_that_lives_in_an_area(busy: Session) -> None:
    table = vmalloc_view(busy)
    assert column(table, "chunk") == [1, 1] and column(table, "group") == [0, 1]


def test_vmalloc_shows_what_was_freed_lazily_until_the_purge(session: Session, tell) -> None:
    ptrs = [tell("alloc 0 32768").lines[0].split()[1] for _ in range(60)]
    tell(*(f"free 0 {ptr}" for ptr in ptrs), "run", "kworker 0")
    lazy = dict(
        zip(
            column(vmalloc_view(session), "start"),
            column(vmalloc_view(session), "lazily_freed"),
            strict=True,
        )
    )
    assert [start for start in lazy if lazy[start]] == sorted(session.machine.vmalloc.lazy)
    assert any(lazy.values())
    tell("purge")
    assert not any(column(vmalloc_view(session), "lazily_freed"))


def test_areas_of_modules_are_listed_with_their_own_pages(session: Session, tell) -> None:
    tell("vmalloc 8192", f"insmod {OBJECTS / 'plain-x86-64.o'}")
    table = vmalloc_view(session)
    assert column(table, "space") == ["vmalloc", "modules"]
    assert column(table, "backed") == [2, 2] and column(table, "nr_pages") == [3, 3]
