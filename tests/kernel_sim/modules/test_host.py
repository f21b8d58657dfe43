from __future__ import annotations

from typing import Any

from kernel_sim.modules.host import ModuleHost


def test_the_tests_host_has_all_that_the_loader_may_ask(bench: Any) -> None:
    asked = [name for name in vars(ModuleHost) if not name.startswith("_")]
    assert len(asked) == 22
    assert [name for name in asked if not hasattr(bench.host, name)] == []
