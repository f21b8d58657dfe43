"""The loader against a table of symbols: who exports a name, who needs whom, what is left in the end."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kernel_sim.modules.loader import ModuleLoader
from kernel_sim.modules.symbol_table import find_symbol
from kernel_sim.primitives import run_undisturbed
from tests.kernel_sim.modules.conftest import new_bench

EXPORTS = {
    "counter": (
        "counter_bump", "counter_global", "counter_names", "counter_table", "counter_where",
    ),
    "reader": ("reader_read",),
    "exporter": ("exporter_func", "exporter_count"),
    "plain": ("plain_get",),
}  # fmt: skip
PER_CPU = ("counter_global", "exporter_count")
NEEDS = {"reader": "counter"}
SCRIPT = "init: a = pcpu_alloc 64 8\nexit: free_percpu a\n"
ENOENT, EEXIST, EWOULDBLOCK, ENOMEM = -2, -17, -11, -12
NAMES = st.sampled_from(sorted(EXPORTS))


class LoaderAgainstTable(RuleBasedStateMachine):
    """Loads, unloads, holds and failures in any order; the table says what each must give."""

    @initialize(arch=st.sampled_from(["x86-64", "i386"]))
    def begin(self, arch: str) -> None:
        self.bench: Any = new_bench(arch)
        self.loaded: dict[str, str] = {}  # name: script
        self.holds: dict[str, int] = {}

    def users(self, name: str) -> int:
        own = sum(NEEDS.get(user) == name for user in self.loaded)
        return own + self.holds.get(name, 0)

    @rule(name=NAMES, script=st.sampled_from(["", SCRIPT]))
    def load(self, name: str, script: str) -> None:
        needs = NEEDS.get(name)
        expected = 0
        if name in self.loaded:
            expected = EEXIST
        elif needs is not None and needs not in self.loaded:
            expected = ENOENT
        assert self.bench.load(name, script) == expected
        if not expected:
            self.loaded[name] = script

    @rule(name=NAMES, nth=st.integers(0, 2))
    def load_without_memory(self, name: str, nth: int) -> None:
        """The nth allocation fails: nothing but the log is different afterwards."""
        host, loader = self.bench.host, self.bench.loader
        before = (dict(host.blocks), dict(host.areas), loader.dump())
        host.fail_at = host.nr_allocs + nth
        result = self.bench.load(name, SCRIPT)
        host.fail_at = -1
        if result == 0:
            self.loaded[name] = SCRIPT
        else:
            assert result in (ENOMEM, EEXIST, ENOENT)
            assert (dict(host.blocks), dict(host.areas), loader.dump()) == before

    @rule(name=NAMES)
    def unload(self, name: str) -> None:
        expected = 0
        if name not in self.loaded:
            expected = ENOENT
        elif self.users(name):
            expected = EWOULDBLOCK
        assert self.bench.delete(name) == expected
        if not expected:
            del self.loaded[name]

    @rule(name=NAMES)
    def hold(self, name: str) -> None:
        path = self.bench.loader.try_module_get(0, name)
        assert run_undisturbed(path) is (name in self.loaded)
        if name in self.loaded:
            self.holds[name] = self.holds.get(name, 0) + 1

    @rule(name=NAMES)
    def let_go(self, name: str) -> None:
        if self.holds.get(name):
            run_undisturbed(self.bench.loader.module_put(0, name))
            self.holds[name] -= 1

    @rule(name=NAMES)
    def rewind_to_here(self, name: str) -> None:
        """A loader put back from its dump goes on as the same."""
        loader = self.bench.loader
        self.bench.loader = ModuleLoader.load(self.bench.host, loader.dump())
        assert self.bench.loader.dump() == loader.dump()

    @invariant()
    def every_name_is_whose_the_table_says(self) -> None:
        loader, host = self.bench.loader, self.bench.host
        loader.check_invariants()
        assert sorted(module.name for module in loader.modules) == sorted(self.loaded)
        for owner, names in EXPORTS.items():
            for name in names:
                found = find_symbol(host, loader.modules, name)
                assert (found is not None) == (owner in self.loaded)
                if found is not None:
                    assert found.owner.name == owner
                    assert found.is_percpu == (name in PER_CPU)
        for module in loader.modules:
            assert module.use_count == self.users(module.name)
        assert find_symbol(host, loader.modules, "counter_zero") is None  # static
        assert find_symbol(host, loader.modules, "exporter_hidden") is None  # not in the table

    def teardown(self) -> None:
        """Whatever was held, at last all can go, and nothing is left."""
        for name in ("reader", "counter", "exporter", "plain"):
            while self.holds.get(name):
                self.let_go(name)
            self.unload(name)
        assert self.bench.host.is_clean() and not self.loaded


TestLoaderAgainstTable = LoaderAgainstTable.TestCase
TestLoaderAgainstTable.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
