from __future__ import annotations

from typing import Any

from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL

SCRIPT = """
init: a = pcpu_alloc 64 8
init: b = pcpu_alloc 128 64 GFP_ATOMIC
exit: free_percpu b
exit: free_percpu a
"""


def test_init_allocates_and_exit_frees(bench: Any) -> None:
    assert bench.load("plain", SCRIPT) == 0
    site = "init_module+0x0/0x0 [plain]"
    assert sorted(bench.host.areas.values()) == [
        (64, 8, False, GFP_KERNEL, site), (128, 64, False, GFP_ATOMIC, site),
    ]  # fmt: skip
    assert list(bench.loader.modules[0].variables) == ["a", "b"]
    bench.host.order.clear()
    a, b = bench.loader.modules[0].variables.values()
    assert bench.delete("plain") == 0
    assert bench.host.order[:2] == [f"free_percpu {b:x}", f"free_percpu {a:x}"]
    assert bench.host.is_clean() and not bench.loader.leaks


def test_the_call_site_is_the_objects_init_function(bench: Any) -> None:
    assert bench.load("counter", SCRIPT) == 0
    sites = {area[4] for area in bench.host.areas.values() if not area[2]}
    assert sites == {"init_module+0x0/0x18 [counter]"}


def test_init_that_returns_an_error_leaves_nothing(bench: Any) -> None:
    script = (
        "init: a = pcpu_alloc 8 8\ninit: b = pcpu_alloc 8 8\ninit: free_percpu a\ninit: return -19"
    )
    assert bench.load("plain", script) == -19
    assert bench.host.is_clean() and not bench.loader.modules
    names = [type(event).__name__ for _, event in bench.host.events]
    assert names == ["ModuleLoad", "ModulePut", "ModuleFree"]


def test_what_exit_does_not_free_is_leaked_and_noted(bench: Any) -> None:
    assert (
        bench.load(
            "plain", "init: a = pcpu_alloc 8 8\ninit: b = pcpu_alloc 8 8\nexit: free_percpu a"
        )
        == 0
    )
    ptr = bench.loader.modules[0].variables["b"]
    assert bench.delete("plain") == 0
    assert list(bench.host.areas) == [ptr]
    assert bench.loader.leaks == [("plain", "b", ptr)]
