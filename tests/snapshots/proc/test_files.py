from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.errors import InputError
from snapshots.proc.files import (
    CpuLists,
    CpuTraceStats,
    NodeLists,
    parse_cpu_lists,
    parse_kallsyms,
    parse_nodes,
    parse_trace_stats,
)


def test_cpu_lists_are_read_and_other_lines_skipped() -> None:
    lines = [
        "possible 0-2,5\n",
        "present 0-2\n",
        "online 0\n",
        "offline ,3-7\n",
        "kernel_max 8191\n",
    ]
    assert parse_cpu_lists(lines, "cpu") == CpuLists((0, 1, 2, 5), (0, 1, 2), (0,))


def test_a_missing_cpu_list_is_named() -> None:
    with pytest.raises(InputError, match=r"^cpu: no line 'online'; expected"):
        parse_cpu_lists(["possible 0\n", "present 0\n"], "cpu")


def test_a_wrong_cpu_list_is_named_with_its_line() -> None:
    with pytest.raises(InputError, match=r"^cpu: line 2: "):
        parse_cpu_lists(["possible 0\n", "present 3-1\n"], "cpu")


def test_nodes_are_read_in_order() -> None:
    lines = ["node1 cpulist 2-3 distance 20 10\n", "node0 cpulist 0-1 distance 10 20\n", "0-1\n"]
    assert parse_nodes(lines, "nodes") == (
        NodeLists(0, (0, 1), (10, 20)),
        NodeLists(1, (2, 3), (20, 10)),
    )


def test_a_node_may_have_no_cpu() -> None:
    assert parse_nodes(["node0 cpulist  distance 10\n"], "nodes")[0].cpus == ()


@pytest.mark.parametrize(
    "lines",
    [["node0 cpulist 0\n"], ["node1 cpulist 0 distance 10\n"], ["node0 cpulist x distance 10\n"],
     ["node0 cpulist 0 distance 10\n"] * 2],
)  # fmt: skip
def test_malformed_nodes_are_refused(lines: list[str]) -> None:
    with pytest.raises(InputError, match=r"^nodes: "):
        parse_nodes(lines, "nodes")


def test_trace_statistics_are_read() -> None:
    line = (
        "cpu0: entries: 1100 overrun: 2001 commit overrun: 0 bytes: 43664 oldest event ts:    "
        "13.147253 now ts:    25.772577 dropped events: 3 read events: 0 \n"
    )
    assert parse_trace_stats([line, "\n"], "s") == (CpuTraceStats(0, 1100, 2001, 3),)


def test_malformed_trace_statistics_are_refused() -> None:
    with pytest.raises(InputError, match=r"^s: line 1: 'cpu0: none'; expected 'cpu0: entries"):
        parse_trace_stats(["cpu0: none\n"], "s")


def test_symbols_are_read_and_the_first_of_equal_names_counts() -> None:
    lines = ["0000000000034080 A steal_time\n", "ffffffff81000000 T _text\n", "1 t f\t[ext4]\n",
             "2 t f\n"]  # fmt: skip
    assert parse_kallsyms(lines, "k") == {
        "steal_time": 0x34080,
        "_text": 0xFFFFFFFF81000000,
        "f": 1,
    }


def test_malformed_symbols_are_refused() -> None:
    with pytest.raises(InputError, match=r"^k: line 2: .*; expected 'ADDRESS TYPE NAME'"):
        parse_kallsyms(["0 A a\n", "nonsense\n"], "k")


@given(st.lists(st.text() | st.from_regex(r"node\d cpulist \S* distance \d\d\n", fullmatch=True)))
def test_any_lines_are_read_or_refused(lines: list[str]) -> None:
    for parse in (parse_cpu_lists, parse_nodes, parse_trace_stats, parse_kallsyms):
        try:
            parse(lines, "any")
        except InputError:
            continue
