from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.config import MachineConfig
from kernel_sim.config_sections import PERCPU_PLAIN_KEYS
from kernel_sim.errors import ConfigError
from kernel_sim.mm.phys_range import PhysRange
from kernel_sim.percpu.boot_log import boot_lines
from kernel_sim.percpu.catalogue import DEFAULT_SYSTEM, ENTRIES
from kernel_sim.topology import format_cpu_list

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "machines").glob("*.toml"))
TWO_NODES = [{"cpus": "0-1", "memory_mib": 64}, {"cpus": "2-3", "memory_mib": 64}]


def machine(**tables: object) -> MachineConfig:
    """Return four CPUs on two nodes of 64 MiB, but for what tables say."""
    mapping = {"name": "m", "cpus": {"possible": "0-3"}, "node": TWO_NODES}
    return MachineConfig.from_mapping(mapping | tables, where="m.toml")


def refused(**tables: object) -> str:
    with pytest.raises(ConfigError) as caught:
        machine(**tables)
    return str(caught.value)


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_loads_and_has_a_layout(path: Path) -> None:
    mapping = tomllib.loads(path.read_text())
    mapping.pop("symbols_file", None)  # read by whoever reads the file
    config = MachineConfig.from_mapping(mapping, where=path.name)
    assert config.name == path.stem
    if config.percpu.system == DEFAULT_SYSTEM:
        assert len(config.alloc_info().unit_map) == len(config.cpus.possible)
        assert boot_lines(config)[-1].text.startswith("pcpu-alloc: [")
    assert MachineConfig.from_mapping(config.to_mapping(), where="again") == config


def test_all_promised_examples_are_there() -> None:
    assert [path.stem for path in EXAMPLES] == [
        "block-2005", "chunk-2009-mail", "chunk-2009", "debian-6.1", "i386-highmem", "legacy-static",
        "numa2-4cpu",
        "numa4-64cpu", "numa4-8cpu-dist", "numa64-4096cpu", "percpu-km-2010", "possible-gt-online",
        "rostedt-2006-modules", "rostedt-2006-vm", "up1",
    ]  # fmt: skip


def test_what_is_not_said_takes_the_value_of_a_real_machine() -> None:
    config = machine()
    assert (config.kernel.version, config.kernel.nr_cpus) == ("6.1", 8192)
    assert config.cpus.possible == config.cpus.present == config.cpus.online == (0, 1, 2, 3)
    assert [getattr(config.percpu, key) for key in PERCPU_PLAIN_KEYS] == [
        "bitmap", "vm", "embed", 217088, 8192, 28672, 2 << 20, True, "faithful",
    ]  # fmt: skip
    assert config.percpu.group_phys == ()
    assert (config.vmalloc.start, config.vmalloc.total_bytes) == (
        0xFFFFC90000000000,
        0x1FFFFFFFFFFF,
    )
    assert (config.schedule.policy, config.schedule.seed) == ("round_robin", 1)
    assert (config.work_mode, config.symbols, config.distances) == ("auto", (), None)


def test_the_early_size_of_the_release_reaches_the_layout() -> None:
    sizes = {"dynamic_bytes": 0, "static_bytes": 4096}
    dyn = [
        machine(kernel={"version": version}, percpu=sizes).alloc_info().dyn_size_bytes
        for version in ("6.1", "6.12")
    ]
    assert dyn == [12288, 20480]


def test_the_topology_is_that_of_the_tables() -> None:
    config = machine(
        cpus={"possible": "0-2,4", "present": "0-2", "online": "0"},
        node=[{"cpus": "0,4", "memory_mib": 64}, {"cpus": "1-2", "memory_mib": 64}],
        numa={"distances": [[10, 21], [20, 10]]},
    )
    topology = config.topology()
    assert (topology.possible, topology.present, topology.online) == ((0, 1, 2, 4), (0, 1, 2), (0,))
    assert topology.node_of_cpu == (0, 1, 1, -1, 0)
    assert (topology.distance(0, 1), topology.distance(1, 0)) == (21, 20)
    assert topology.nodes == (0, 1)
    assert machine().topology().distances == ((10, 20), (20, 10))


def test_groups_follow_nodes_unless_no_distance_function_is_wanted() -> None:
    assert len(machine().alloc_info().groups) == 2
    assert len(machine(percpu={"distance_fn": False}).alloc_info().groups) == 1
    assert len(machine().alloc_info("page").groups) == 1


def test_a_first_chunk_of_pages_fixes_what_the_kernel_fixes() -> None:
    config = machine(percpu={"first_chunk": "page"})
    assert (config.percpu.dynamic_bytes, config.percpu.atom_bytes) == (0, 4096)
    assert not config.percpu.distance_fn
    assert config.alloc_info() == machine().alloc_info("page")


def test_every_value_survives_being_written_and_read() -> None:
    config = machine(
        name="all",
        kernel={"version": "6.12", "nr_cpus": 64, "page_table_levels": 5},
        cpus={"possible": "0-3", "present": "0-2", "online": "0-1"},
        numa={"distances": [[10, 255], [11, 10]]},
        percpu={
            "system": "bitmap", "backend": "vm", "first_chunk": "embed", "static_bytes": 45123,
            "reserved_bytes": 4096, "dynamic_bytes": 20000, "atom_bytes": 65536,
            "distance_fn": True, "free_hint": "fixed", "group_phys": [0x100000, "0x5000000"],
        },
        vmalloc={"start": "0xffffc90000000000", "end": 0xFFFFC9FFFFFFFFFF},
        schedule={"policy": "pct", "seed": 2**64 - 1},
        work={"mode": "scripted"},
        symbols={"__per_cpu_offset": "0xffffffff82345678", "this_cpu_off": 0x1C},
    )  # fmt: skip
    mapping = config.to_mapping()
    again = MachineConfig.from_mapping(mapping, where="again")
    assert again == config
    assert again.to_mapping() == mapping
    assert config.symbols == (("__per_cpu_offset", 0xFFFFFFFF82345678), ("this_cpu_off", 0x1C))
    assert config.percpu.group_phys == (0x100000, 0x5000000)


@given(
    st.frozensets(st.integers(1, 63), max_size=20),
    st.integers(0, 2**32),
    st.integers(0, 30000),
    st.sampled_from(["vm", "km"]),
)
def test_any_machine_survives_being_written_and_read(
    cpus: frozenset[int], seed: int, dynamic_bytes: int, backend: str
) -> None:
    config = machine(
        cpus={"possible": format_cpu_list((0, *cpus)), "online": "0"},
        node=[{"memory_mib": 256}],
        percpu={"backend": backend, "dynamic_bytes": dynamic_bytes},
        schedule={"policy": "random", "seed": seed},
    )
    assert MachineConfig.from_mapping(config.to_mapping(), where="again") == config


def test_mib_are_written_as_the_ranges_they_stand_for() -> None:
    assert machine().nodes[1].memory == (PhysRange(64 << 20, (128 << 20) - 1),)
    assert machine().to_mapping()["node"] == [
        {"cpus": "0-1", "memory": ["0x0-0x3ffffff"]},
        {"cpus": "2-3", "memory": ["0x4000000-0x7ffffff"]},
    ]


def test_a_group_of_cpus_that_are_not_there_may_lie_on_another_node() -> None:
    nodes = [{"cpus": "0-1", "memory_mib": 64}, {"cpus": "2-3"}]
    config = machine(cpus={"possible": "0-3", "present": "0-1"}, node=nodes)
    assert len(config.alloc_info().groups) == 2


def test_a_node_without_memory_for_its_first_chunk_is_refused() -> None:
    for memory in ({}, {"memory_mib": 1}):
        nodes = [{"cpus": "0-1", "memory_mib": 64}, {"cpus": "2-3", **memory}]
        assert "node 1 has no room for the group of CPU 2" in refused(node=nodes)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"nam": 1}, "m.toml: nam: unknown key (did you mean 'name'?)"),
        ({"name": 3}, "m.toml: name: 3; expected a text"),
        ({"name": ""}, "m.toml: name: ''; expected 1 to 100 printable characters"),
        ({"name": "a\n"}, "m.toml: name: 'a\\n'; expected 1 to 100 printable characters"),
        ({"name": "a" * 101}, "...; expected 1 to 100 printable characters"),
        ({"node": []}, "m.toml: node: missing; expected at least one [[node]]"),
        ({"node": [{"cpus": "0-3"}]}, "m.toml: [[node]] memory: none on any node"),
        ({"percpu": {"first_chunk": "page", "static_bytes": 1 << 28}},
         "[percpu] first_chunk: needs 262164 pages; expected more memory than 32768 pages"),
        ({"percpu": {"backend": "km"}}, '[percpu] backend: "km" with 2 groups; expected one group'),
        ({"percpu": {"static_bytes": 1 << 28}},
         "[percpu] first_chunk: node 0 has no room for the group of CPU 0; expected 541065216 bytes "
         "aligned to 2097152"),
        ({"percpu": {"group_phys": ["0x0"]}},
         "group_phys: 1 addresses; expected one for each of the 2 groups"),
        ({"percpu": {"group_phys": ["0x0", "0x4001000"]}},
         "group_phys: 0x4001000; expected a multiple of 0x200000"),
        ({"percpu": {"group_phys": ["0x0", "0x0"]}},
         "group_phys: 0x0 lies in the group below; expected 0x200000 or more"),
        ({"percpu": {"group_phys": ["0x0", "0x8000000"]}},
         "group_phys: 0x8000000; expected 0x200000 bytes inside one range of memory"),
        ({"work": {"mode": "off"}}, "[work] mode: 'off'; expected one of 'auto', 'scripted'"),
        ({"symbols": {"a": "b"}}, "[symbols] a: 'b'; expected an address"),
        ({"symbols": {"": 1}}, "m.toml: [symbols]: expected a name"),
        ({"symbols": 5}, "m.toml: [symbols]: 5; expected a table"),
        ({"symbols": {f"s{n}": n for n in range(65537)}},
         "m.toml: [symbols]: 65537 symbols; expected at most 65536"),
    ],
)  # fmt: skip
def test_a_machine_that_cannot_be_is_refused(tables: dict[str, object], message: str) -> None:
    text = refused(**tables)
    assert text.startswith("m.toml: ")
    assert message in text


def test_a_mapping_without_a_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"m\.toml: name: missing"):
        MachineConfig.from_mapping(
            {"cpus": {"possible": "0"}, "node": [{"memory_mib": 64}]}, where="m.toml"
        )


def test_all_cpus_may_be_possible_as_on_i386_before_2_6_20() -> None:
    mapping = {
        "name": "all",
        "kernel": {"nr_cpus": 6},
        "cpus": {"possible": "all", "present": "0-1"},
        "node": [{"memory_mib": 512}],
    }
    config = MachineConfig.from_mapping(mapping, where="x.toml")
    assert config.cpus.possible == tuple(range(6))
    assert config.cpus.online == (0, 1)
    again = MachineConfig.from_mapping(config.to_mapping(), where="x.toml")
    assert again == config


def test_keys_that_a_system_does_not_take_are_refused() -> None:
    for entry in ENTRIES:
        left = [
            key for key in PERCPU_PLAIN_KEYS if key not in ("system", "static_bytes", *entry.keys)
        ]
        for key in left:
            with pytest.raises(ConfigError, match=f"{key}: not for system '{entry.name}'"):
                machine(kernel={"arch": entry.arches[0]}, percpu={"system": entry.name, key: 1})


def test_a_system_on_what_it_never_ran_on_is_refused() -> None:
    for entry in ENTRIES:
        for arch in ("x86-64", "i386"):
            if arch not in entry.arches:
                with pytest.raises(ConfigError, match=f"'{entry.name}' on {arch}; expected"):
                    machine(kernel={"arch": arch}, percpu={"system": entry.name})
