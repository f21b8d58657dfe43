from __future__ import annotations

import pytest

from kernel_sim.arch import ARCHES
from kernel_sim.config_memory import NODE_RANGES_MAX, NodeConfig, check_memory, read_nodes
from kernel_sim.config_table import ConfigTable
from kernel_sim.errors import ConfigError
from kernel_sim.mm.phys_range import PhysRange

MIB = 1 << 20


def nodes_of(*entries: object, possible: tuple[int, ...] = (0, 1)) -> tuple[NodeConfig, ...]:
    return read_nodes(ConfigTable("m.toml", "", {"node": list(entries)}, ("node",)), possible)


def refused(*entries: object) -> str:
    with pytest.raises(ConfigError) as caught:
        nodes_of(*entries)
    return str(caught.value)


def test_ranges_are_read_inclusive_and_put_in_order() -> None:
    (node,) = nodes_of({"cpus": "0-1", "memory": ["0x100000-0x1fffff", "0x0-0x9ffff"]})
    assert node.memory == (PhysRange(0, 0x9FFFF), PhysRange(0x100000, 0x1FFFFF))
    assert node.nr_pages == 160 + 256


def test_mib_of_memory_follow_the_nodes_before() -> None:
    nodes = nodes_of(
        {"cpus": "0", "memory_mib": 2}, {"cpus": "1", "memory": ["0x400000-0x4fffff"]},
        {"memory_mib": 1},
    )  # fmt: skip
    assert nodes[0].memory == (PhysRange(0, 2 * MIB - 1),)
    assert nodes[2].memory == (PhysRange(5 * MIB, 6 * MIB - 1),)


def test_the_only_node_has_all_cpus_unless_it_says_otherwise() -> None:
    assert nodes_of({"memory_mib": 1})[0].cpus == (0, 1)
    assert "CPU 1 on no node" in refused({"cpus": "0", "memory_mib": 1})


def test_a_node_may_lack_cpus_or_memory_but_not_both() -> None:
    first, second = nodes_of({"cpus": "0-1"}, {"memory_mib": 1})
    assert (first.memory, second.cpus) == ((), ())
    both = refused({"cpus": "0-1", "memory_mib": 1}, {"memory_mib": 0})
    assert both.startswith("m.toml: [[node]] 1 memory: missing, and no CPUs")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((), "m.toml: node: missing; expected at least one [[node]]"),
        ((5,), "m.toml: [[node]] 0: 5; expected a table"),
        (({"cpu": "0"},), "[[node]] 0 cpu: unknown key (did you mean 'cpus'?)"),
        (({"cpus": "0-1"}, {"cpus": "1"}), "[[node]] 1 cpus: CPU 1 is on node 0"),
        (({"cpus": "0"}, {"memory_mib": 1}), "m.toml: [[node]] cpus: CPU 1 on no node"),
        (({"cpus": "0-2"},), "[[node]] 0 cpus: CPU 2 is not possible"),
        (({"memory": ["0x0"]},), "[[node]] 0 memory: '0x0'; expected first and last byte"),
        (({"memory": ["0x2000-0x1000"]},), "[[node]] 0 memory: '0x2000-0x1000'; expected"),
        (({"memory": ["0x1-0x1ffe"]},), "holds no whole page"),
        (({"memory": [7]},), "[[node]] 0 memory: 7; expected first and last byte"),
        (({"memory": ["0-4095"] * (NODE_RANGES_MAX + 1)},), "129 entries; expected at most 128"),
        (({"memory": [], "memory_mib": 1},), "memory_mib: beside memory; expected one of them"),
        (({"memory_mib": -1},), "memory_mib: -1; expected a whole number from 0"),
    ],
)
def test_a_bad_node_is_refused(entries: tuple[object, ...], message: str) -> None:
    assert message in refused(*entries)


def test_memory_must_not_overlap_even_on_one_node() -> None:
    nodes = nodes_of({"cpus": "0-1", "memory": ["0x0-0x1fff"]}, {"memory": ["0x1000-0x4fff"]})
    with pytest.raises(ConfigError) as caught:
        check_memory("m.toml", nodes, arch=ARCHES["x86-64", 4])
    assert str(caught.value) == (
        "m.toml: [[node]] 1 memory: 0x1000-0x4fff overlaps 0x0-0x1fff of node 0; "
        "expected ranges apart"
    )


@pytest.mark.parametrize(("levels", "bits"), [(4, 46), (5, 52)])
def test_memory_must_be_within_reach_of_the_page_tables(levels: int, bits: int) -> None:
    limit = 1 << bits
    check_memory(
        "m",
        [NodeConfig((0,), (PhysRange(limit - 4096, limit - 1),))],
        arch=ARCHES["x86-64", levels],
    )
    beyond = [NodeConfig((0,), (PhysRange(limit - 4096, limit),))]
    with pytest.raises(ConfigError, match=f"{limit:#x}, all that {levels} page-table levels"):
        check_memory("m", beyond, arch=ARCHES["x86-64", levels])


def test_a_machine_without_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match="none on any node"):
        check_memory("m", [NodeConfig((0,), ())], arch=ARCHES["x86-64", 4])


def test_a_node_is_written_as_ranges() -> None:
    (node,) = nodes_of({"memory_mib": 1})
    assert node.to_mapping() == {"cpus": "0-1", "memory": ["0x0-0xfffff"]}
