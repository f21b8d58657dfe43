from __future__ import annotations

from typing import Any, cast

from kernel_sim.percpu.catalogue import ENTRIES
from kernel_sim.percpu.system_entry import place_nothing


def test_an_entry_tells_where_it_ran_and_what_may_be_set() -> None:
    for entry in ENTRIES:
        assert entry.title and entry.years and entry.arches
        keys = [option.key for option in entry.options]
        assert len(keys) == len(dict.fromkeys(keys))
        for option in entry.options:
            assert option.meaning
            assert not isinstance(option.default, str) or option.default in option.choices


def test_a_system_may_need_nothing_before_the_page_tables() -> None:
    place_nothing(cast("Any", None))
