"""One system's run: every operation done, counted, found again, and its failure told."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snapshots.compare.generated import KINDS, generated_workload
from snapshots.compare.machines import USUAL_MACHINE
from snapshots.compare.measures import OTHERS, OWN_DYNAMIC
from snapshots.compare.runner import Comparison
from snapshots.compare.system_run import SystemRun
from snapshots.compare.workload import (
    Access,
    Alloc,
    CpuDown,
    CpuUp,
    Free,
    ModuleAccess,
    ModuleLoad,
    ModuleUnload,
    Operation,
    StaticAccess,
    Workload,
)
from snapshots.opening import open_any
from snapshots.origin import Origin
from snapshots.recording import save_timeline
from tests.snapshots.compare.conftest import compared

PEOPLE = {
    **USUAL_MACHINE,
    "cpus": {"possible": "0-1"},
    "node": [{"cpus": "0-1", "memory_mib": 128}],
}


def ran(*operations: Operation, systems: str = "bitmap") -> SystemRun:
    (run,) = compared(Workload("t", "test", operations, 4), systems).runs
    return run


def test_every_operation_is_done_or_accounted_for(mixed: Comparison) -> None:
    for run in mixed.runs:
        measured = run.measured
        assert measured.stopped is None, measured.stopped
        told = measured.nr_done + measured.nr_moot + len(measured.failures) + len(measured.cannot)
        assert told == len(mixed.workload.operations) == sum(c.nr for c in measured.steps.values())
        assert len(run.ends) == told + 1
        assert run.ends == sorted(run.ends)
        assert measured.nr_steps == run.timeline.end_step - run.ends[0]


def test_what_lives_at_the_end_is_what_the_system_says_lives(mixed: Comparison) -> None:
    for run in mixed.runs:
        system = run.machine.system
        assert all(system.holds(area.ptr) for area in run.live.values())
        run.machine.system.check(is_idle=True)


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(KINDS)), st.integers(0, 1 << 40))
def test_any_generated_work_gives_everything_back(kind: str, seed: int) -> None:
    work = generated_workload(f"gen:{kind},seed={seed},ops=60")
    live: dict[int | str, Operation] = {}
    for operation in work.operations:
        if isinstance(operation, Alloc | ModuleLoad):
            live[operation[0]] = operation
        elif isinstance(operation, Free | ModuleUnload):
            del live[operation[0]]
    back = [
        Free(made.number) if isinstance(made, Alloc) else ModuleUnload(made.name)
        for made in live.values()
        if isinstance(made, Alloc | ModuleLoad)
    ]
    whole = Workload(work.name, work.origin, (*work.operations, *back), work.nr_cpus)
    for run in compared(whole).runs:
        assert run.measured.stopped is None, (run.label, run.measured.stopped)
        assert not run.live
        assert run.measured.at_end.total["asked"] == 0
        run.machine.system.check(is_idle=True)


def test_the_run_stands_after_any_operation_again(mixed: Comparison) -> None:
    work = generated_workload("gen:counters,seed=4,ops=90")
    for run in compared(work).runs:
        begin, end = run.measured.at_boot, run.measured.at_end
        run.timeline.seek(run.ends[0])
        run.live.clear()
        assert run.accounts() == begin
        run.timeline.seek(run.ends[-1])
        assert run.machine.step == run.ends[-1]
        assert end.total_bytes == run.accounts().total_bytes


def test_a_run_is_saved_as_a_recording(tmp_path: Path) -> None:
    for run in compared("gen:small,ops=60").runs:
        path = tmp_path / f"{run.label}.kms"
        save_timeline(path, run.timeline, Origin(kind="compare"))
        opened = open_any(path)
        opened.timeline.seek(run.ends[-1])
        assert opened.timeline.machine.system.name == run.machine.system.name
        assert sorted(opened.timeline.machine.system.live_areas()) == sorted(
            run.machine.system.live_areas()
        )


# -- single operations -----------------------------------------------------------------------------------


def test_an_access_is_really_performed() -> None:
    run = ran(Alloc(1, 64, 8), Access(1, 2, 2, write=True), Access(1, 0, 2), Access(1, 1, 2, True))
    machine = run.machine
    addr = machine.system.copy_addr(run.live[1].ptr, 2)
    assert addr is not None
    phys = machine.space.translate(addr)
    assert phys is not None
    assert machine.memory.read(phys, 8) == b"\1" + bytes(7)
    own, others = run.measured.uses[OWN_DYNAMIC], run.measured.uses[OTHERS]
    assert (own.nr_accesses, own.nr_references) == (1, 1)
    assert (others.nr_accesses, others.nr_references) == (2, 4)  # the table, then the datum
    # CPUs 0 and 1 are on node 0: the datum of CPU 2 is on node 1, the table in the image on node 0
    assert (own.nr_remote, others.nr_remote) == (0, 2)
    assert others.nr_tlb_misses >= 2
    assert others.nr_walk_references >= 2 * others.nr_tlb_misses


def test_a_machine_without_tlbs_counts_references_too() -> None:
    base = {**USUAL_MACHINE, "tlb": {"profile": "none"}}
    work = Workload("t", "test", (Alloc(1, 8, 8), Access(1, 0, 0), Access(1, 0, 1)))
    (run,) = compared(work, "bitmap", base).runs
    assert run.measured.uses[OTHERS].nr_references == 2
    assert run.measured.uses[OWN_DYNAMIC].nr_references == 1
    assert run.measured.all_uses.nr_tlb_misses == 0


def test_a_module_comes_is_used_and_goes() -> None:
    run = ran(ModuleLoad("ipt-x", 100, 32, 5), ModuleAccess("ipt-x", 1, 1, True))
    assert run.measured.nr_done == 2
    assert [mod.name for mod in run.machine.modules.modules] == ["ipt_x"]
    assert run.machine.system.holds(run.live["ipt-x"].ptr)
    gone = ran(ModuleLoad("m", 100, 32, 5), ModuleUnload("m"), ModuleAccess("m", 0, 0))
    assert not gone.machine.modules.modules
    assert (gone.measured.nr_done, gone.measured.nr_moot) == (2, 1)


def test_cpus_go_and_come_and_others_do_their_work() -> None:
    run = ran(Alloc(1, 8, 8, cpu=1), CpuDown(1), Access(1, 1, 1), CpuUp(1), Access(1, 1, 1))
    assert run.measured.nr_done == 5
    assert sorted(run.measured.tlb_pages) == [1, 2]  # CPU 2 did the work of CPU 1


def test_static_variables_are_reached_within_their_section() -> None:
    run = ran(*(StaticAccess(offset, 0, 0) for offset in (0, 3, 17888, 17889, 10**9)))
    assert run.measured.nr_done == 5
    start = run.machine.system.percpu_start
    addrs = {run.machine.system.copy_addr(start, 0), run.machine.system.copy_addr(start + 17888, 0)}
    assert None not in addrs


def test_failures_have_the_reason_that_the_kernel_logged() -> None:
    run = ran(Alloc(1, 100_000, 8), Free(1), ModuleLoad("m", 9000, 8, 1), CpuDown(9))
    measured = run.measured
    assert [trouble.at for trouble in measured.failures] == [0, 2, 3]
    assert "illegal size" in measured.failures[0].reason
    assert "alloc from reserved chunk failed" in measured.failures[1].reason
    assert measured.failures[2].reason == "CPU 9: this machine has 4 CPUs"
    assert measured.nr_moot == 1


def test_work_for_more_cpus_than_there_are_is_shared_out() -> None:
    work = Workload("t", "test", (Alloc(1, 8, 8, cpu=7), Access(1, 6, 7), Access(1, 7, 7)), 8)
    (run,) = compared(work, "bitmap", PEOPLE).runs
    assert run.measured.nr_done == 3
    assert sorted(run.measured.tlb_pages) == [0, 1]


def test_a_fault_ends_one_systems_run_and_is_told() -> None:
    run = ran(Alloc(1, 64, 8), Free(1), Alloc(2, 64, 8))
    run.live[9] = run.live[2]._replace(ptr=run.live[2].ptr + 4096)
    run._do(3, Free(9))
    assert run.measured.stopped is not None
    assert run.measured.stopped.at == 3
    assert run.measured.stopped.reason.startswith("the machine stopped: ")


def test_what_lived_after_any_operation_is_known() -> None:
    work = generated_workload("gen:mixed,seed=8,ops=200")
    for run in compared(work).runs:
        assert run.areas_after(0) == {}
        assert run.areas_after(len(work.operations)) == run.live
        for nr_done in (1, 57, 120, 199):
            part = Workload("part", "test", work.operations[:nr_done], work.nr_cpus)
            (again,) = compared(part, run.label).runs
            assert run.areas_after(nr_done) == again.live


def test_the_cost_of_each_access_is_kept() -> None:
    run = ran(Alloc(1, 8, 8), Access(1, 0, 0), Free(1), Access(1, 0, 0), StaticAccess(0, 0, 3))
    assert sorted(run.costs) == [1, 4]
    assert run.costs[1].nr_references == 1
    assert (run.costs[4].nr_references, run.costs[4].nr_remote) == (2, 1)
