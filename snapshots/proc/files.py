"""Small files out of /proc and /sys of a real machine, as its recorder wrote them down.

sys/cpu       possible 0-3                           one list a line
sys/nodes     node0 cpulist 0-1 distance 10 20       one node a line; other lines say nothing new
trace-stats   cpu0: entries: 1100 overrun: 2001 …    how much each CPU's ring buffer lost
kallsyms-*    0000000000034080 A steal_time          address, type, name
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from kernel_sim.errors import ConfigError
from kernel_sim.topology import parse_cpu_list
from snapshots.errors import InputError
from snapshots.logs.trace_line import excerpt

NODES_MAX = 1024
SYMBOLS_MAX = 1 << 18
NODE = re.compile(r"node([0-9]{1,4}) cpulist (\S*) distance((?: [0-9]{1,3})+)\s*")
STATS = re.compile(r"cpu([0-9]{1,5}): entries: ([0-9]{1,18}) overrun: ([0-9]{1,18}) .*")
DROPPED = re.compile(r" dropped events: ([0-9]{1,18})")
SYMBOL = re.compile(r"([0-9a-fA-F]{1,16}) ([A-Za-z?]) (\S+)(?:\s+\[\S+\])?\s*")
CPU_LISTS = ("possible", "present", "online")


class CpuLists(NamedTuple):
    """CPU numbers, ascending."""

    possible: tuple[int, ...]
    present: tuple[int, ...]
    online: tuple[int, ...]


class NodeLists(NamedTuple):
    """A node: its CPUs that are online, and its distance to each node."""

    number: int
    cpus: tuple[int, ...]
    distances: tuple[int, ...]


class CpuTraceStats(NamedTuple):
    """What one CPU's ring buffer holds, and what was overwritten or never written."""

    cpu: int
    entries: int
    overrun: int
    dropped: int


def parse_cpu_lists(lines: Iterable[str], source: str) -> CpuLists:
    """Return the three lists of sys/cpu; other lines are skipped.

    Raises: InputError if one of the three is missing or no list.
    """
    found: dict[str, tuple[int, ...]] = {}
    for line_no, line in enumerate(lines, 1):
        name, _, text = line.strip().partition(" ")
        if name in CPU_LISTS:
            found[name] = _cpus(text, source, line_no)
    for name in CPU_LISTS:
        if name not in found:
            raise InputError(f"{source}: no line {name!r}; expected a list such as '{name} 0-3'")
    return CpuLists(*(found[name] for name in CPU_LISTS))


def parse_nodes(lines: Iterable[str], source: str) -> tuple[NodeLists, ...]:
    """Return the nodes of sys/nodes, by number.

    Raises: InputError if a line of a node is malformed, or the nodes are not 0, 1, 2 …
    """
    nodes: list[NodeLists] = []
    for line_no, line in enumerate(lines, 1):
        if not line.startswith("node"):
            continue
        found = NODE.fullmatch(line)
        if found is None or len(nodes) >= NODES_MAX:
            raise InputError(
                f"{source}: line {line_no}: {excerpt(line, 0)}; expected "
                f"'node0 cpulist 0-1 distance 10 20', at most {NODES_MAX} nodes"
            )
        distances = tuple(int(text) for text in found[3].split())
        nodes.append(NodeLists(int(found[1]), _cpus(found[2], source, line_no), distances))
    nodes.sort()
    numbers = [node.number for node in nodes]
    if numbers != list(range(len(nodes))):
        raise InputError(f"{source}: nodes {numbers}; expected 0, 1, 2 … without gaps, each once")
    return tuple(nodes)


def parse_trace_stats(lines: Iterable[str], source: str) -> tuple[CpuTraceStats, ...]:
    """Return the ring-buffer statistics of each CPU.

    Raises: InputError if a line is malformed.
    """
    stats: list[CpuTraceStats] = []
    for line_no, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = STATS.match(line)
        if found is None:
            raise InputError(
                f"{source}: line {line_no}: {excerpt(line, 0)}; expected "
                "'cpu0: entries: 10 overrun: 0 …'"
            )
        dropped = DROPPED.search(line)
        cpu, entries, overrun = map(int, found.groups())
        stats.append(CpuTraceStats(cpu, entries, overrun, int(dropped[1]) if dropped else 0))
    return tuple(stats)


def parse_kallsyms(lines: Iterable[str], source: str) -> dict[str, int]:
    """Return symbols by name, in file order; of equal names the first counts.

    Raises: InputError if a line is malformed or there are too many.
    """
    symbols: dict[str, int] = {}
    for line_no, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = SYMBOL.fullmatch(line)
        if found is None or len(symbols) >= SYMBOLS_MAX:
            raise InputError(
                f"{source}: line {line_no}: {excerpt(line, 0)}; expected 'ADDRESS TYPE NAME', "
                f"at most {SYMBOLS_MAX} symbols"
            )
        symbols.setdefault(found[3], int(found[1], 16))
    return symbols


def _cpus(text: str, source: str, line_no: int) -> tuple[int, ...]:
    try:
        return parse_cpu_list(text)
    except ConfigError as error:
        raise InputError(f"{source}: line {line_no}: {error}") from error
