"""A run written as a script comes to the same run again."""

from __future__ import annotations

import pytest

from kernel_sim.calls import SIGNATURES
from kernel_sim.inputs import KNOB_SIGNATURES, Input
from snapshots.timeline import NO_LIMIT
from tui.debugger.commands.catalogue import REGISTRY
from tui.debugger.script_lines import LINES, line_of, script_lines
from tui.debugger.session import Session

GFP_KERNEL, GFP_ATOMIC = 0xCC0, 0xA20
ADDR = 0xFFFFC90000000000
VALUES = {int: 0, str: "", bool: False, bytes: b""}


def inputs_of(session: Session) -> list[Input]:
    timeline = session.timeline
    return [timeline.input_at(number) for number in range(timeline.nr_inputs)]


def idle_of(inputs: list[Input]) -> list[bool]:
    return [not at or given.step > inputs[at - 1].step for at, given in enumerate(inputs)]


def test_a_script_makes_the_run_again(session: Session, tell, boot_example) -> None:
    """Of what stands in it, only who asked for an area is another: the console has one name for all."""
    tell(
        "alloc 0 64", "alloc 1 4096 64 atomic", "alloc 2 32 reserved", "write 2 0x37000 7 4",
        "read 1 0x37000", "free 3 0x37000", "kmalloc 100 node=1 cpu=2", "vmalloc 5000 cpu=1",
        "pages 1 gfp=GFP_ATOMIC", "fail-pages 4", "fail-pages never", "purge", "kworker 1",
        "fail page-alloc nth=3", "fail page-alloc off", "fail hotplug 3 180", "drain",
        "cpu down 3", "cpu up 3",
    )  # fmt: skip
    inputs = inputs_of(session)
    lines = script_lines(inputs, idle_of(inputs))
    assert not [line for line in lines if line.startswith("#")]
    again = boot_example("numa2-4cpu")
    for line in lines:
        from tui.debugger.console import answer_now

        answer_now(again, line)
    assert inputs_of(again) == inputs
    assert again.digest() == session.digest()


def test_calls_that_overlap_do_so_again(session: Session, boot_example) -> None:
    timeline = session.timeline
    for cpu, steps in ((0, 3), (1, 0), (2, 4), (3, 0)):
        timeline.give("pcpu_alloc", cpu, (64, 8, False, GFP_KERNEL, "kmemscope"))
        timeline.advance(timeline.step + steps)
    timeline.advance(NO_LIMIT)
    inputs = inputs_of(session)
    lines = script_lines(inputs, [True, False, False, False])
    assert lines == [
        "alloc 0 64 8 later", "run 3", "alloc 1 64 8 later", "alloc 2 64 8 later", "run 4",
        "alloc 3 64 8",
    ]  # fmt: skip
    again = boot_example("numa2-4cpu")
    for line in lines:
        from tui.debugger.console import answer_now

        answer_now(again, line)
    assert inputs_of(again) == inputs
    assert again.digest() == session.digest()


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (Input(0, "pcpu_alloc", 1, (64, 8, True, GFP_ATOMIC, "x")), "alloc 1 64 8 atomic reserved"),
        (Input(0, "pcpu_alloc", 1, (64, 8, False, 0x2CC0, "x")), "# pcpu_alloc 64 8 False 11456 x on cpu 1"),
        (Input(0, "vfree", 2, (ADDR,)), f"vfree {ADDR:#x} cpu=2"),
        (Input(0, "kmalloc_node", 2, (64, GFP_KERNEL, -1)), "kmalloc 64 gfp=GFP_KERNEL cpu=2"),
        (Input(0, "this_cpu_add", 2, (64, 1, 8)), "# this_cpu_add 64 1 8 on cpu 2"),
        (Input(0, "load_module", 0, (b"12345", "m", "")), "# load_module (5 bytes) m  on cpu 0"),
    ],
)  # fmt: skip
def test_an_input_reads_as_a_command_or_a_comment(given: Input, line: str) -> None:
    assert line_of(given) == line


def test_what_cannot_be_for_later_is_a_comment_there() -> None:
    given = Input(0, "this_cpu_write", 2, (64, 1, 8))
    assert line_of(given, later=True) == "# this_cpu_write 64 1 8 on cpu 2"
    assert line_of(given) == "write 2 0x40 1 8"


def test_every_line_is_of_a_call_and_a_command() -> None:
    for do in LINES:
        kinds = (SIGNATURES | KNOB_SIGNATURES)[do]
        line = line_of(Input(0, do, 0, tuple(VALUES[kind] for kind in kinds)))  # type: ignore[misc]
        assert line.split()[0] in REGISTRY, line
