from __future__ import annotations

import pytest

from kernel_sim.check import check_machine
from kernel_sim.errors import ConfigError
from kernel_sim.events import CpuhpExit
from kernel_sim.fault_knobs import SETTING_NAMES, parse_fault_settings
from kernel_sim.mm.fault_injection import FaultSettings
from kernel_sim.mm.gfp import GFP_KERNEL
from tests.kernel_sim.conftest import SmallKernel
from tests.kernel_sim.whole_machines import Whole


def test_settings_are_read_by_the_names_of_debugfs() -> None:
    text = "nth=3 caller=vmalloc probability=10 min-order=1 ignore-gfp-wait=1"
    assert parse_fault_settings(text) == FaultSettings(
        nth=3, caller="vmalloc", probability=10, min_order=1, ignore_gfp_wait=True
    )
    assert parse_fault_settings("") == FaultSettings()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("nht=3", "did you mean 'nth'"),
        ("nth", "nth: ''; expected a whole number"),
        ("nth=x", "'x'; expected a whole number"),
        ("nth=99999999999999999999", "expected a whole number"),
        ("probability=101", "expected 0 to 100"),
        ("x" * 500, "500 characters"),
    ],
)
def test_a_wrong_setting_is_named(text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        parse_fault_settings(text)


def test_every_setting_has_a_name() -> None:
    assert SETTING_NAMES[0] == "probability" and "caller" in SETTING_NAMES


def test_the_nth_request_of_a_caller_fails_and_then_no_more() -> None:
    kernel = SmallKernel()
    kernel.knob("fail_page_alloc", "nth=1 caller=alloc_pages")
    results = [kernel.call("alloc_pages", 0, GFP_KERNEL, -1) for _ in range(3)]
    assert results[1] == -1 and results[0] > 0 and results[2] > 0
    assert "page allocation failure: order:0" in kernel.machine.kernel_log[-1][1]
    check_machine(kernel.machine)


def test_chance_comes_from_the_machines_own_generator() -> None:
    def failures() -> list[int]:
        kernel = SmallKernel(seed=5)
        kernel.knob("fail_page_alloc", "probability=50")
        return [kernel.call("alloc_pages", 0, GFP_KERNEL, -1) < 0 for _ in range(40)]

    first = failures()
    assert first == failures()
    assert 5 < sum(first) < 35


def test_an_empty_text_switches_it_off() -> None:
    kernel = SmallKernel()
    kernel.knob("fail_page_alloc", "probability=100")
    assert kernel.call("alloc_pages", 0, GFP_KERNEL, -1) == -1
    kernel.knob("fail_page_alloc", "")
    assert kernel.call("alloc_pages", 0, GFP_KERNEL, -1) > 0


def test_a_step_of_hotplug_fails_once() -> None:
    kernel = SmallKernel()
    assert kernel.call("cpu_down", 3) == 0
    kernel.knob("cpuhp_fail", 3, 36)
    kernel.machine.take_events()
    assert kernel.call("cpu_up", 3) == -11
    exits = [at.event for at in kernel.machine.take_events() if isinstance(at.event, CpuhpExit)]
    assert [event.ret for event in exits].count(-11) == 1
    assert not kernel.machine.cpus[3].online
    check_machine(kernel.machine)
    assert kernel.call("cpu_up", 3) == 0


@pytest.mark.parametrize(("args", "what"), [((9, 36), "no CPU 9"), ((3, 37), "one of 1, 11, 36")])
def test_an_unknown_step_or_cpu_is_refused(args: tuple[int, int], what: str) -> None:
    kernel = SmallKernel()
    with pytest.raises(ConfigError, match=what):
        kernel.knob("cpuhp_fail", *args)


def test_a_failure_that_was_ordered_can_be_taken_back() -> None:
    kernel = SmallKernel()
    kernel.knob("cpuhp_fail", 3, 36)
    kernel.knob("cpuhp_fail", 3, 0)
    assert kernel.machine.hotplug_fail is None


def test_what_is_refused_has_not_happened() -> None:
    whole = Whole()
    before = (whole.machine.step, whole.machine.scheduler.dump())
    for name, args in (("fail_page_alloc", ("nth=x",)), ("cpuhp_fail", (0, 7))):
        with pytest.raises(ConfigError):
            whole.knob(name, *args)
        assert (whole.machine.step, whole.machine.scheduler.dump()) == before
