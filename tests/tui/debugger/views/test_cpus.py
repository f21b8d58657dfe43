from __future__ import annotations

from tests.tui.debugger.views.conftest import column
from tui.debugger.session import Session
from tui.debugger.views.cpus import cpus_view
from tui.debugger.views.offsets import offsets_view


def test_cpus_reads_per_cpu_offset_from_simulated_memory(session: Session) -> None:
    assert column(cpus_view(session), "per_cpu_offset") == column(cpus_view(session), "gs_base")
    machine = session.machine
    phys = machine.space.translate(machine.symbols["__per_cpu_offset"] + 8)
    machine.memory.write(phys, (0x1234).to_bytes(8, "little"))
    assert column(cpus_view(session), "per_cpu_offset")[1] == 0x1234


def test_cpus_gives_unit_bases_in_the_chunk_asked_for(busy: Session) -> None:
    chunk = busy.machine.percpu.chunks[1]
    wanted = [chunk.base_addr + offset for offset in busy.machine.places.unit_offsets]
    assert column(cpus_view(busy, 1), "unit_base") == wanted
    assert column(offsets_view(busy), "chunk 1") == wanted


def test_cpus_shows_call_stack_and_what_it_waits_for(session: Session, tell) -> None:
    tell("alloc 0 8 later", "alloc 1 8 later", "step 3")
    table = cpus_view(session)
    assert column(table, "call") == ["pcpu_alloc", "pcpu_alloc", None, None]
    assert column(table, "waits_for")[1] == "pcpu_alloc_mutex, held by cpu 0"


def test_the_base_register_is_named_as_the_architecture_has_it(boot_example) -> None:
    session = boot_example("i386-highmem")
    assert column(cpus_view(session), "per_cpu_offset") == column(cpus_view(session), "fs_base")


def test_a_cpu_that_comes_up_tells_how_far_it_is(session: Session, tell) -> None:
    tell("cpu down 3")
    assert column(cpus_view(session), "call") == [None, None, None, "(offline)"]
    tell("cpu up 3 later", "step 5")
    state = session.machine.cpus[3].hotplug_state
    assert state and column(cpus_view(session), "call")[3] == f"(at {state})"


def test_a_cpu_that_is_not_present_is_not_just_offline(boot_example) -> None:
    calls = column(cpus_view(boot_example("possible-gt-online")), "call")
    assert calls[4:] == ["(offline)"] * 2 + ["(not present)"] * 2
