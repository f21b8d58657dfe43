from __future__ import annotations

import gc

from tui.garbage import ALLOCATIONS, collect_rarely


def test_what_lives_is_no_longer_looked_at_and_looks_are_rare() -> None:
    before = gc.get_threshold()
    try:
        collect_rarely()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] == ALLOCATIONS
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
