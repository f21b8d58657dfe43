"""Machines are made of the inputs; those of the mails are the files that the commands name."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from kernel_sim.config import MachineConfig
from snapshots.figures.bench import Bench, Description
from snapshots.figures.inputs import AS_MAILED
from snapshots.figures.machines import (
    bitmap_machine,
    block_machine,
    chunk_machine,
    congruent_machine,
    cpu_list,
    default_build,
    hybrid_machine,
    km_machine,
    legacy_machine,
    offsets_machine,
    on_two_nodes,
    rfc_machine,
)
from snapshots.figures.measuring import alloc

NOT_BOOTING = "km-2node"
FOLDER = Path(__file__).parents[3] / "examples" / "figures"
BLOCKS = block_machine(AS_MAILED)
LEGACY = legacy_machine(AS_MAILED, 2)
IN_FILES = (
    legacy_machine(AS_MAILED, 1), LEGACY, legacy_machine(AS_MAILED, 64),
    default_build(AS_MAILED), on_two_nodes(LEGACY, 2, "legacy-2node"),
    BLOCKS, block_machine(AS_MAILED, nr_cpus=512), on_two_nodes(BLOCKS, 2, "block-2node"),
    block_machine(AS_MAILED, nr_blocks=8, name="block-refill"),
    chunk_machine(AS_MAILED), km_machine(6, 128), bitmap_machine(AS_MAILED),
    rfc_machine(AS_MAILED), hybrid_machine(AS_MAILED),
    hybrid_machine(AS_MAILED, access="register", name="hybrid-register"),
    hybrid_machine(AS_MAILED, to_come=True, name="hybrid-to-come"),
    offsets_machine(AS_MAILED, 1), offsets_machine(AS_MAILED, 2), offsets_machine(AS_MAILED, 8),
)  # fmt: skip


@pytest.mark.parametrize("description", IN_FILES, ids=lambda each: str(each["name"]))
def test_the_files_of_the_examples_are_these_machines(description: Description) -> None:
    path = FOLDER / f"{description['name']}.toml"
    in_file = MachineConfig.from_mapping(tomllib.loads(path.read_text()), where="file")
    assert in_file == MachineConfig.from_mapping(description, where="inputs")


def test_the_machine_that_cannot_be_is_in_a_file_too() -> None:
    in_file = tomllib.loads((FOLDER / f"{NOT_BOOTING}.toml").read_text())
    assert in_file == congruent_machine(AS_MAILED, system="percpu-km-2010", name=NOT_BOOTING)


def test_units_in_kernel_memory_are_as_large_as_they_are_said_to_be() -> None:
    for units, unit_kib in AS_MAILED.km_layouts:
        info = Bench(AS_MAILED).fresh(km_machine(units, unit_kib)).machine.percpu_units.info
        assert (info.nr_units, info.unit_size_bytes) == (units, unit_kib << 10)


def test_there_is_no_other_file() -> None:
    names = sorted([NOT_BOOTING, *(str(each["name"]) for each in IN_FILES)])
    assert sorted(path.stem for path in FOLDER.glob("*.toml")) == names


def test_lists_of_cpus() -> None:
    assert [cpu_list(nr_cpus) for nr_cpus in (1, 2, 64)] == ["0", "0-1", "0-63"]


def test_a_default_build_has_the_default_of_its_day_and_all_cpus_possible() -> None:
    machine = Bench(AS_MAILED).fresh(default_build(AS_MAILED)).machine
    assert machine.config.kernel.nr_cpus == 8
    assert machine.topology.possible == tuple(range(8))
    moved = replace(AS_MAILED, nr_cpus=5)
    assert Bench(moved).fresh(default_build(moved)).machine.topology.possible == tuple(range(5))


def test_a_legacy_machine_has_the_inputs_in_it() -> None:
    moved = replace(AS_MAILED, static_bytes=1000, enough_room_bytes=5000)
    config = Bench(moved).fresh(legacy_machine(moved, 3, line_bytes=32)).machine.config
    assert (config.percpu.static_bytes, config.cpus.possible) == (1000, (0, 1, 2))
    assert config.percpu.option("enough_room_bytes") == 5000
    assert config.percpu.option("cache_line_bytes") == 32


def test_blocks_have_all_the_address_space_they_need_and_no_more() -> None:
    description = block_machine(AS_MAILED, nr_blocks=3, name="three")
    run = Bench(AS_MAILED).fresh(description)
    while alloc(run, 8192):
        pass
    assert len(list(run.machine.system.live_areas())) == 3


def test_half_of_the_cpus_are_on_the_other_node() -> None:
    config = (
        Bench(AS_MAILED).fresh(on_two_nodes(legacy_machine(AS_MAILED, 5), 5, "x")).machine.config
    )
    assert [node.cpus for node in config.nodes] == [(0, 1), (2, 3, 4)]
