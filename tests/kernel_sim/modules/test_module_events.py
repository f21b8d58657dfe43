"""The loader's events against the trace of a real kernel (module:* in trace-combined)."""

from __future__ import annotations

from typing import Any

from kernel_sim.modules.module_events import MODULE_EVENT_NAMES


def lines_of(events: list[tuple[int, Any]]) -> list[str]:
    lines = []
    for _, event in events:
        name = MODULE_EVENT_NAMES[type(event)]
        if name in ("module_get", "module_put"):
            text = f"{event.name} call_site={event.call_site} refcnt={event.refcnt}"
        else:
            text = event.name + (f" {event.taints}" if name == "module_load" else "")
        lines.append(f"{name}: {text}")
    return lines


def test_a_module_and_its_user_tell_what_jbd2_and_ext4_told(bench: Any) -> None:
    assert bench.load("counter") == bench.load("reader") == 0
    assert lines_of(bench.host.events) == [
        "module_load: counter ",
        "module_put: counter call_site=do_init_module refcnt=1",
        "module_get: counter call_site=resolve_symbol refcnt=2",
        "module_load: reader ",
        "module_put: reader call_site=do_init_module refcnt=1",
    ]
    bench.host.events.clear()
    assert bench.delete("reader") == bench.delete("counter") == 0
    assert lines_of(bench.host.events) == [
        "module_free: reader",
        "module_put: counter call_site=module_unload_free refcnt=1",
        "module_free: counter",
    ]
