from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from kernel_sim.errors import KernelBug
from kernel_sim.modules.module import (
    COMING,
    GOING,
    LIVE,
    MODULE_NEXT,
    UNFORMED,
    Module,
    ModuleSymbol,
    SectionAt,
)  # fmt: skip


@pytest.mark.parametrize(("before", "after"), itertools.product(MODULE_NEXT, MODULE_NEXT))
def test_the_life_cycle_is_its_table(before: str, after: str) -> None:
    module = Module("m", state=before)
    if (before, after) in [(UNFORMED, COMING), (COMING, LIVE), (COMING, GOING), (LIVE, GOING)]:
        module.enter(after)
        assert module.state == after
    else:
        with pytest.raises(KernelBug, match="cannot go from"):
            module.enter(after)


def test_a_loaded_module_survives_dump_and_load(bench: Any) -> None:
    assert bench.load("counter", "init: a = pcpu_alloc 8 8\nexit: free_percpu a") == 0
    assert bench.load("reader") == 0
    for module in bench.loader.modules:
        state = module.dump()
        again = Module.load(state)
        assert again == module
        assert again.dump() == state
        json.dumps(state)  # builtin types only
        for row in state["symbols"]:
            assert type(row) is tuple


def test_an_address_in_a_module_has_an_owner() -> None:
    module = Module("m")
    module.sections = [SectionAt(".text", 0x1000, 0x100), SectionAt(".data", 0x2000, 8)]
    module.symbols = [
        ModuleSymbol("f", 0x1000, 0x10, "T", False),
        ModuleSymbol("g", 0x1040, 0x20, "t", False),
        ModuleSymbol("per_cpu", 0x1020, 4, "a", True),
    ]
    assert module.find_owner_name(0x100F) == "f+0xf"
    assert module.find_owner_name(0x1020) == ".text+0x20"
    assert module.find_owner_name(0x1041) == "g+0x1"
    assert module.find_owner_name(0x2007) == ".data+0x7"
    assert module.find_owner_name(0x2008) is None
    assert [symbol.name for symbol in module.percpu_symbols] == ["per_cpu"]


def test_counts_are_those_of_proc_modules() -> None:
    module = Module("m", core_size_bytes=0x3000, init_size_bytes=0x1000, refcnt=3)
    assert (module.size_bytes, module.use_count) == (0x4000, 2)
