from __future__ import annotations

from snapshots.history.change_index import run_now
from snapshots.history.compiled import compile_text
from tui.debugger.session import Session
from tui.debugger.watches import INDEXES_MAX, Watch, Watches


def test_watches_keep_their_numbers() -> None:
    watches = Watches()
    assert [watches.add(text).number for text in ("step", "fault", "step")] == [1, 2, 3]
    assert watches.remove(2) and not watches.remove(2)
    assert watches.rows == (Watch(1, "step"), Watch(3, "step"))
    assert watches.add("fault").number == 4


def test_a_branch_has_an_index_of_its_own_that_knows_what_is_shared(busy: Session) -> None:
    old = busy.timeline
    index = busy.watches.index_of(old)
    assert busy.watches.index_of(old) is index
    busy.go_now(3)
    busy.give(0, "pcpu_alloc", 8, 4, False, 0xCC0, "here")
    assert busy.timeline is not old
    branch = busy.watches.index_of(busy.timeline)
    assert branch is not index and branch.timeline is busy.timeline
    assert busy.watches.index_of(old) is index


def test_few_indexes_are_kept(busy: Session) -> None:
    for _ in range(INDEXES_MAX + 3):
        busy.go_now(3)
        busy.give(0, "pcpu_alloc", 8, 4, False, 0xCC0, "here")
        busy.timeline.advance(1 << 62)
        index = busy.watches.index_of(busy.timeline)
        of = compile_text("chunk[0].nr_alloc", busy.machine)
        run_now(index.last(of, busy.end_step))
    assert len(busy.watches.indexes) == INDEXES_MAX
    assert busy.watches.indexes[-1] is index
