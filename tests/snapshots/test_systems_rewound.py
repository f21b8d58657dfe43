"""Every per-CPU system goes back and forth in time: one digest at each step, however one came there.

a walk        calls, seeks, branches, saves, loads, by chance ─► each position is that of a fresh machine
a process     with another hash seed reads the file ─► the same digests
a stranger    changes what the file says of the system ─► refused in words, at once, in little memory
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import process_time
from typing import Any, cast

import msgpack
import pytest

from kernel_sim.boot import boot
from kernel_sim.check import check_machine
from kernel_sim.config import MachineConfig
from kernel_sim.errors import ConfigError, KernelSimError
from kernel_sim.inputs import Input, apply_input
from kernel_sim.machine import Machine
from kernel_sim.machine_state import Parts, dump_parts, load_parts
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL
from kernel_sim.percpu.account import account_of
from snapshots.errors import InputRefused
from snapshots.loaded_machine import check_loaded
from snapshots.part_shapes import check_part
from snapshots.recording import Origin, open_recording, save_timeline
from snapshots.state_codec import decode_part, encode_part, state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from snapshots.verify import verify_recording
from tests.kernel_sim.percpu.catalogue_machines import (
    FOREVER,
    NR_CPUS,
    SYSTEMS,
    config_of,
    image_of,
    keeps_mistakes,
    variants_of,
)
from tests.snapshots.conftest import Pieces, mutated, places_in, short_segments
from tests.snapshots.test_digest_law import POLICIES, Walk
from tests.snapshots.test_timeline import IN_ANOTHER_PROCESS, ROOT

SIZES = (4, 64, 300, 1000, 4096, 8000)
MODULES = ("counter", "wide", "plain")
HUGE = (1 << 33, 1 << 40, 1 << 60, (1 << 63) - 1, (1 << 64) - 1, -(1 << 63), -4096, -1, 0, 70000)
NEAR = (-4096, -128, -4, -1, 1, 4, 8, 128, 4096)
SECONDS_MAX = 1.0
MEMORY_MAX = 2 << 30
OWN_PARTS = ("system", "percpu", "chunk")


def areas_of(machine: Machine) -> list[int]:
    """Return the ptrs of dynamic areas; some systems count modules' sections among them."""
    sections = [module.percpu_ptr for module in machine.modules.modules]
    return [ptr for ptr, _ in machine.system.live_areas() if ptr not in sections]


# -- back and forth ------------------------------------------------------------------------------------


class SystemWalk(Walk):
    """A walk that asks for all that a per-CPU system does."""

    def give(self) -> None:
        timeline = self.timeline
        machine = timeline.machine
        cpu = self.pick(NR_CPUS)
        what = self.pick(12)
        is_quiet = machine.is_idle and timeline.next_input == timeline.nr_inputs
        live = areas_of(machine) if is_quiet else []
        size = SIZES[self.pick(len(SIZES))]
        if live and what < 5:
            ptr = live[self.pick(len(live))]
            calls: tuple[tuple[Any, ...], ...] = (
                ("free_percpu", ptr), ("this_cpu_write", ptr, self.pick(256), 1),
                ("this_cpu_add", ptr, 3, 1), ("per_cpu", ptr, self.pick(NR_CPUS), 1),
                ("free_percpu", ptr),
            )  # fmt: skip
            self._ask(cpu, *calls[what])
            self._run()
        elif what == 5:
            self._ask(cpu, ("cpu_down", "cpu_up")[self.pick(2)], 1 + self.pick(NR_CPUS - 1))
        elif what == 6:
            name = MODULES[self.pick(len(MODULES))]
            arch = machine.arch.name
            self._ask(cpu, "load_module", image_of(name, arch), name, "")
        elif what == 7 and is_quiet:
            self._ask(cpu, "delete_module", MODULES[self.pick(len(MODULES))])
        elif what == 8:
            self._ask(cpu, ("purge_vmap", "do_free_init", "kworker")[self.pick(3)])
        elif what == 9:
            self._ask(cpu, "fail_pages", (-1, -1, 3)[self.pick(3)])
        else:
            gfp = GFP_KERNEL if self.pick(4) else GFP_ATOMIC
            self._ask(cpu, "pcpu_alloc", size, 8, False, gfp, f"walk+{size:#x}")

    def act(self) -> None:
        with suppress(InputRefused):
            super().act()
        if self.timeline.is_stale:
            self.timeline.seek(NO_LIMIT)

    def _ask(self, cpu: int, name: str, *args: Any) -> None:
        with suppress(ConfigError):  # the CPU is offline, or there is no such call here
            self.timeline.give(name, cpu, args)

    def _run(self) -> None:
        with suppress(InputRefused):
            self.timeline.advance(NO_LIMIT)


def walk(
    config: MachineConfig, folder: Path, seed: int, nr_things: int, segment_inputs: int
) -> None:
    with short_segments(segment_inputs):
        walker = SystemWalk.begin(config, folder, seed)
        for _ in range(nr_things):
            walker.step()
            walker.check()
        walker.check_all()


@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_a_position_shows_one_state_on_every_system(tmp_path: Path, name: str, arch: str) -> None:
    for seed, segment_inputs in ((1, 3), (2, 5)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        schedule = {"policy": POLICIES[seed % 3], "seed": seed}
        walk(config_of(name, arch, schedule=schedule), folder, seed, 10, segment_inputs)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_so_it_is_after_long_walks(tmp_path: Path, name: str, arch: str) -> None:
    for seed in range(10, 22):
        folder = tmp_path / str(seed)
        folder.mkdir()
        schedule = {"policy": POLICIES[seed % 3], "seed": seed}
        walk(config_of(name, arch, schedule=schedule), folder, seed, 50, (2, 5, 1024)[seed % 3])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_so_it_is_with_every_switch_of_every_system(tmp_path: Path, name: str, arch: str) -> None:
    for number, options in enumerate(variants_of(name)):
        folder = tmp_path / str(number)
        folder.mkdir()
        schedule = {"policy": POLICIES[number % 3], "seed": number}
        try:
            config = config_of(name, arch, schedule=schedule, percpu={"options": options})
            boot(config)
        except ConfigError:  # such a machine cannot be
            continue
        if not keeps_mistakes(options):
            walk(config, folder, number, 20, 3)


# -- a file, and who reads it --------------------------------------------------------------------------


def lived(name: str, arch: str) -> Timeline:
    """Return a run with areas, modules, CPUs that came and went, and a keyframe every few inputs."""
    online = {"possible": f"0-{NR_CPUS - 1}", "online": f"0-{NR_CPUS - 2}"}
    with short_segments(4):
        timeline = Timeline(boot(config_of(name, arch, cpus=online)))
        calls: list[tuple[Any, ...]] = [
            ("pcpu_alloc", size, 8, False, GFP_KERNEL, "lived")
            for size in (100, 3000, 4096, 8000, 8000, 20)
        ]
        calls += [
            ("load_module", image_of("counter", arch), "counter", ""),
            ("cpu_down", 2),
            ("cpu_up", 3),
            ("load_module", image_of("wide", arch), "wide", ""),
        ]
        for do, *args in calls:
            timeline.give(do, 0, tuple(args))
            timeline.advance(NO_LIMIT)
        live = areas_of(timeline.machine)
        for do, *args in (("free_percpu", live[1]), ("this_cpu_write", live[0], 7, 1)):
            timeline.give(do, 0, tuple(args))
            timeline.advance(NO_LIMIT)
    return timeline


def test_a_process_with_another_hash_seed_reads_the_same_states(tmp_path: Path) -> None:
    for name, arch in SYSTEMS[:: max(len(SYSTEMS) // 6, 1)]:
        timeline, path = lived(name, arch), tmp_path / f"{name}-{arch}.kms"
        save_timeline(path, timeline, Origin())
        assert verify_recording(path) == []
        steps = [timeline.end_step, 0, timeline.end_step // 2, 3]
        run = subprocess.run(
            [sys.executable, "-c", IN_ANOTHER_PROCESS, str(path), *map(str, steps)],
            env=os.environ | {"PYTHONHASHSEED": "31337", "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        told = dict(line.split() for line in run.stdout.splitlines())
        for step in steps:
            timeline.seek(step)
            assert told[str(step)] == state_digest(timeline.machine), (name, step)


# -- a stranger's file ---------------------------------------------------------------------------------


@contextmanager
def little_memory_at_once() -> Iterator[None]:
    """Let a size of 2^60 bytes that is believed end in MemoryError, and a loop over it in a failure."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_MAX
    resource.setrlimit(resource.RLIMIT_AS, (min(limit, soft) if soft > 0 else limit, hard))
    began = process_time()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert process_time() - began < SECONDS_MAX


def spoilt(part: object, chance: random.Random) -> object:
    """Change one thing of a part: mostly a number for a huge or a near one, or for another of the part."""
    numbers = [path for path in places_in(part) if path and type(_at(part, path)) is int]
    if not numbers or chance.random() < 0.3:
        return mutated(part, chance)
    part = _copy(part)
    path = chance.choice(numbers)
    new = (
        chance.choice(HUGE),
        cast("int", _at(part, path)) + chance.choice(NEAR),
        _at(part, chance.choice(numbers)),
    )
    cast("Any", _at(part, path[:-1]))[path[-1]] = chance.choice(new)
    return part


def _at(value: Any, path: tuple[object, ...]) -> object:
    for key in path:
        value = value[key]
    return value


def _copy(part: object) -> object:
    return msgpack.unpackb(msgpack.packb(part), strict_map_key=False)


def is_own(part_name: str) -> bool:
    """Say whether a part is the per-CPU system's."""
    return part_name.partition(".")[0] in OWN_PARTS


def look_at_all(machine: Machine) -> None:
    """Ask for everything that is shown of a system; what it is does not matter here."""
    system = machine.system
    assert all(stretch.size_bytes >= 0 for stretch in system.stretches())
    system.facts(), system.nr_pages(), system.metadata_bytes(), account_of(machine)
    for ptr, _ in system.live_areas():
        system.holds(ptr), [system.copy_addr(ptr, cpu) for cpu in range(NR_CPUS)]
    for look in (lambda: list(system.owned_pages()), lambda: check_machine(machine)):
        with suppress(KernelSimError):
            look()
    encode_part(dump_parts(machine))


def use(machine: Machine, chance: random.Random) -> None:
    """Let the machine work; a simulated fault may stop it, and nothing else may."""
    live = [ptr for ptr, _ in machine.system.live_areas()]
    calls: list[tuple[Any, ...]] = [("free_percpu", ptr) for ptr in live[:4]]
    calls += [("pcpu_alloc", size, 8, False, GFP_KERNEL, "use") for size in (16, 3000, 8000)]
    calls += [("cpu_up", 2), ("cpu_down", 3), ("delete_module", "counter"), ("kworker",)]
    chance.shuffle(calls)
    for do, *args in calls:
        with suppress(KernelSimError):
            apply_input(machine, Input(machine.step, do, 0, tuple(args)))
            machine.run(FOREVER)


def meet_a_stranger(config: MachineConfig, parts: Parts, chance: random.Random) -> bool:
    """Spoil one part of a system and go on with it; returns whether it was refused in words."""
    changed = dict(parts)
    name = chance.choice([each for each in parts if is_own(each)])
    how = chance.random()
    if how < 0.03:
        del changed[name]
    elif how < 0.08:
        stem = name.partition(".")[0]
        changed[chance.choice((f"{stem}.x", f"{stem}.99", f"{stem}.-7", "system.block.x"))] = parts[
            name
        ]
    else:
        part = spoilt(
            _copy(msgpack.unpackb(encode_part(parts[name]), strict_map_key=False)), chance
        )
        try:
            changed[name] = decode_part(msgpack.packb(part))
        except (OverflowError, KernelSimError):  # the change cannot be written, or not be read
            return True
    machine = boot(config)
    try:
        for each in changed:
            check_part(each, changed[each])
        load_parts(machine, changed)
        check_loaded(machine)
    except KernelSimError as problem:
        assert 0 < len(str(problem)) < 2000
        return True
    look_at_all(machine)
    use(machine, chance)
    look_at_all(machine)
    return False


def met_strangers(name: str, arch: str, seed: int, nr_strangers: int) -> int:
    timeline = lived(name, arch)
    config, parts = timeline.machine.config, dump_parts(timeline.machine)
    again = {each: decode_part(encode_part(part)) for each, part in parts.items()}
    chance, nr_refused = random.Random(seed), 0
    for _ in range(nr_strangers):
        with little_memory_at_once():
            nr_refused += meet_a_stranger(config, again, chance)
    return nr_refused


@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_a_strangers_system_is_refused_or_does_no_harm(name: str, arch: str) -> None:
    assert 30 < met_strangers(name, arch, 1, 60) <= 60


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_so_it_is_with_many_strangers(name: str, arch: str) -> None:
    met_strangers(name, arch, 2, 3000)


@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_a_true_state_is_no_strangers(name: str, arch: str) -> None:
    timeline = lived(name, arch)
    parts = {
        each: decode_part(encode_part(part)) for each, part in dump_parts(timeline.machine).items()
    }
    machine = boot(timeline.machine.config)
    load_parts(machine, parts)
    check_loaded(machine)
    check_machine(machine)
    assert state_digest(machine) == state_digest(timeline.machine)


def strangers_files(path: Path, name: str, arch: str, seed: int, nr_files: int) -> None:
    """Change a keyframe of a file each time, open it, and stand everywhere: nothing is blamed on us."""
    save_timeline(path, lived(name, arch), Origin())
    true, chance = Pieces.of(path), random.Random(seed)
    records = list(true.records)
    for _ in range(nr_files):
        true.records = list(records)
        place = chance.choice(true.places("Keyframe"))
        own = [each for each in true.changed_parts(place) if is_own(each)]
        if not own:
            continue
        part = chance.choice(own)
        try:
            true.set_part(place, part, msgpack.packb(spoilt(true.part(place, part), chance)))
        except OverflowError:
            continue
        with little_memory_at_once():
            stand_everywhere(true.write(path))


def stand_everywhere(path: Path) -> None:
    try:
        opened = open_recording(path)
    except KernelSimError:
        return
    timeline = opened.timeline
    for head in reversed(timeline.heads):
        try:
            timeline.seek(head.last_step)
            timeline.seek(head.first_step)
            look_at_all(timeline.machine)
        except KernelSimError as problem:
            assert "what no machine can do or be" not in str(problem)
    opened.reader.close()


@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_a_strangers_file_is_refused_in_words(tmp_path: Path, name: str, arch: str) -> None:
    strangers_files(tmp_path / "stranger.kms", name, arch, 1, 6)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_so_are_many_files(tmp_path: Path, name: str, arch: str) -> None:
    strangers_files(tmp_path / "stranger.kms", name, arch, 2, 400)


def test_a_stranger_who_is_believed_would_be_seen() -> None:
    """The tests above notice memory and time."""
    with pytest.raises(MemoryError), little_memory_at_once():
        bytes(1 << 33)
    with pytest.raises(AssertionError), little_memory_at_once():
        began = process_time()
        while process_time() - began < 1.1 * SECONDS_MAX:
            pass
