from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from snapshots.errors import InputError
from snapshots.logs.allocator_state import AllocatorState, MdBlock, parse_states
from snapshots.logs.text_source import read_lines

STATES = Path(__file__).parents[2] / "golden" / "ftrace" / "machine-smp4-2node" / "states.jsonl.gz"
RECORDED = Path(__file__).parents[4] / "shared" / "golden"


def golden() -> list[AllocatorState]:
    return list(parse_states(read_lines(STATES), "states.jsonl"))


def first_row() -> dict[str, Any]:
    row = json.loads(next(read_lines(STATES)))
    assert isinstance(row, dict)
    return row


def test_a_real_state_is_read() -> None:
    state = golden()[0]
    assert state.pcpu_base_addr == 0xFFFF88803EC00000
    assert (state.unit_size_bytes, state.nr_units, state.nr_slots) == (1 << 20, 4, 22)
    assert (state.sidelined_slot, state.free_slot, state.to_depopulate_slot) == (19, 20, 21)
    assert state.group_addrs == (0xFFFF88803EC00000, 0xFFFF88807C400000)
    assert state.per_cpu_offset[2] == state.pcpu_base_addr + state.unit_offsets_by_cpu[2]
    assert not state.async_enabled


def test_a_state_tells_the_mark_it_was_taken_at() -> None:
    assert [state.marker for state in golden()] == [None, "init begin"]


def test_the_chunks_of_a_real_state_are_read() -> None:
    first, reserved = golden()[0].chunks
    assert (first.role, first.slot, first.slot_position) == ("first", 12, 0)
    assert (reserved.role, reserved.slot, reserved.areas) == ("reserved", None, ())
    assert first.chunk_md == MdBlock(0, 536, 6080, 1088, 7168, 6080, 552, 7168)
    assert first.populated_page_runs == ((0, 7),)
    assert len(first.md_blocks) == first.nr_pages == 7
    live_bytes = sum(length for _, length in first.areas)
    assert live_bytes + first.free_bytes == first.nr_pages * 4096


@pytest.mark.parametrize(
    ("key", "value"),
    [("label", 3), ("pcpu_base_addr", "x"), ("chunks", 3), ("group_offsets", [None]),
     ("md_block_fields", ["first_free"])],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_line(key: str, value: object) -> None:
    row = json.dumps(first_row() | {key: value})
    with pytest.raises(InputError, match=f"^s.jsonl: line 2: '{key}'"):
        list(parse_states(["\n", row], "s.jsonl"))


def test_a_wrong_value_in_a_chunk_is_named_with_the_chunk() -> None:
    row = first_row()
    row["chunks"][1]["areas_off_len"] = [[1, 2, 3]]
    with pytest.raises(InputError, match=r"line 1: chunks\[1\]: 'areas_off_len': .*2 numbers"):
        list(parse_states([json.dumps(row)], "s.jsonl"))


def test_states_are_read_only_when_asked_for() -> None:
    states = parse_states([json.dumps(first_row()), "garbage"], "s.jsonl")
    assert next(states).nr_cpu_ids == 4
    with pytest.raises(InputError, match="line 2"):
        next(states)


@pytest.mark.slow
@pytest.mark.skipif(not RECORDED.is_dir(), reason="the full recordings are not here")
@pytest.mark.parametrize("path", sorted(RECORDED.glob("kernel-*/*/states.jsonl.gz")), ids=str)
def test_every_recorded_state_is_read(path: Path) -> None:
    states = list(parse_states(read_lines(path), str(path)))
    assert states[-1].label.startswith("trace-end")
    for state in states:
        for chunk in state.chunks:
            assert chunk.free_bytes == chunk.nr_pages * 4096 - sum(
                length for _, length in chunk.areas
            ) - (chunk.start_offset_bytes + chunk.end_offset_bytes)
