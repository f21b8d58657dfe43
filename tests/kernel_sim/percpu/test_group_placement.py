from __future__ import annotations

from kernel_sim.mm.phys_range import PhysRange
from kernel_sim.percpu.group_placement import find_group_addrs
from kernel_sim.percpu.unit_layout import AllocInfo, build_alloc_info
from kernel_sim.topology import Topology

MIB = 1 << 20
DISTANCES = ((10, 30, 20), (30, 10, 20), (20, 20, 10))


def three_nodes(*nodes: int) -> tuple[Topology, AllocInfo]:
    """Return a machine whose CPUs sit on these nodes, two MiB for each group."""
    cpus = tuple(range(len(nodes)))
    topology = Topology(cpus, cpus, cpus, nodes, DISTANCES, (0, 1, 2))
    info = build_alloc_info(
        static_size_bytes=200000, reserved_size_bytes=8192, dyn_size_bytes=28672,
        atom_size_bytes=2 * MIB, cpus=cpus, node_of=nodes.__getitem__,
    )  # fmt: skip
    return topology, info


def mib(start: int, end: int) -> PhysRange:
    return PhysRange(start * MIB, end * MIB - 1)


def test_a_group_lies_as_high_as_it_fits_on_its_own_node() -> None:
    topology, info = three_nodes(0, 0, 2)
    memory = [[mib(0, 1), mib(1, 7)], [mib(8, 16)], [mib(16, 24)]]
    assert find_group_addrs(info, topology, memory) == (4 * MIB, 22 * MIB)


def test_the_nearest_node_helps_a_node_without_memory() -> None:
    topology, info = three_nodes(0, 2)
    memory = [[], [mib(8, 16)], [mib(16, 24)]]
    assert find_group_addrs(info, topology, memory) == (22 * MIB, 20 * MIB)


def test_what_is_left_of_a_range_serves_the_next_group() -> None:
    topology, info = three_nodes(0, 1, 2)
    memory = [[], [], [mib(1, 7)]]
    assert find_group_addrs(info, topology, memory) == (4 * MIB, 2 * MIB, None)


def test_a_group_never_lies_across_two_nodes() -> None:
    topology, info = three_nodes(0, 1)
    memory = [[mib(2, 5)], [PhysRange(5 * MIB, 6 * MIB - 1)], []]
    assert find_group_addrs(info, topology, memory) == (2 * MIB, None)


def test_parts_of_pages_at_either_end_are_not_used() -> None:
    topology, info = three_nodes(0)
    assert find_group_addrs(info, topology, [[PhysRange(1, 4 * MIB - 1)], [], []]) == (2 * MIB,)
    assert find_group_addrs(info, topology, [[PhysRange(0, 2 * MIB - 2)], [], []]) == (None,)
