"""Inputs and events by columns: everything comes back, and few bytes never claim many rows."""

from __future__ import annotations

import random
import time
import tracemalloc
import zlib
from typing import get_type_hints

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.events import EVENT_NAMES, EventAt, PercpuAllocPercpu
from kernel_sim.inputs import Input
from snapshots.errors import RecordingError
from snapshots.segment import SegmentBody, pack_segment, unpack_segment
from snapshots.segment_columns import CELLS_MAX, CODES, ROWS, pack_events, pack_inputs, unpack_rows
from snapshots.state_codec import encode_part
from tests.snapshots.conftest import BUSY, events_of, inputs_of, mutated, recorded, small_config

PEAK_BYTES_MAX = 300 << 20  # what the largest segment may take while it is unpacked
WORDS = st.integers(-(1 << 63), (1 << 64) - 1)
ODD = st.one_of(
    WORDS, st.booleans(), st.none(), st.text(max_size=5), st.binary(max_size=5), st.floats(allow_nan=False)
)  # fmt: skip
ARGS = st.lists(ODD, max_size=7).map(tuple)
CALLS = st.sampled_from(["pcpu_alloc", "free_percpu", "purge_vmap", "", "x" * 300])
INPUTS = st.lists(
    st.builds(Input, st.integers(0, 1 << 62), CALLS, WORDS, ARGS, WORDS, st.text(max_size=4)), max_size=8
)  # fmt: skip
EVENTS = st.lists(
    st.builds(
        EventAt,
        st.integers(0, 1 << 62),
        WORDS,
        st.one_of(
            *(st.builds(row, *(st.integers(0, (1 << 64) - 1) | ODD for _ in get_type_hints(row)))
              for row in EVENT_NAMES)
        ),
    ),
    max_size=8,
)  # fmt: skip
ZERO, NO_TEXT = ["=", 0], ["=", ""]


def packed_of(inputs: list[Input], events: list[EventAt]) -> tuple[object, ...]:
    packed_inputs, named, _ = pack_inputs(inputs)
    return (packed_inputs, pack_events(events, named)[0])


def again(inputs: list[Input], events: list[EventAt]) -> tuple[list[Input], list[EventAt]]:
    packed = encode_part(packed_of(inputs, events))
    return unpack_rows(msgpack.unpackb(packed), len(inputs), len(events))


def test_all_types_of_events_are_drawn_and_numbered() -> None:
    assert len(ROWS) == len(EVENT_NAMES) == 27 and CODES[ROWS[26]] == 26
    assert EVENT_NAMES[ROWS[24]] == "module_put"  # 25 types had their numbers before 2005 came


@given(INPUTS, EVENTS)
def test_inputs_and_events_come_back_however_odd(
    inputs: list[Input], events: list[EventAt]
) -> None:
    inputs = sorted(inputs, key=lambda given: given.step)
    events = sorted(events, key=lambda at: at.step)
    got_inputs, got_events = again(inputs, events)
    assert encode_part(got_inputs) == encode_part(inputs)
    assert encode_part(got_events) == encode_part(events)
    assert [type(at.event) for at in got_events] == [type(at.event) for at in events]
    assert all(isinstance(given.args, tuple) for given in got_inputs)


@given(INPUTS, EVENTS)
def test_rows_out_of_order_come_back_too(inputs: list[Input], events: list[EventAt]) -> None:
    inputs = [given._replace(step=given.step % 1000) for given in inputs]
    assert encode_part(again(inputs, [])[0]) == encode_part(inputs)


def test_a_real_run_comes_back_and_takes_a_byte_or_two_for_each_row() -> None:
    timeline = recorded(small_config(cpus=4), BUSY * 6)
    inputs, events = inputs_of(timeline), events_of(timeline)
    assert again(inputs, events) == (inputs, events)
    nr_bytes = len(pack_segment(SegmentBody(inputs, events)))
    assert nr_bytes < 8 * (len(inputs) + len(events))


def test_what_an_event_repeats_of_its_call_is_not_written_again() -> None:
    chance = random.Random(1)
    sizes = [chance.randrange(1, 1 << 40) for _ in range(300)]
    fields = list(PercpuAllocPercpu._fields)
    inputs = [
        Input(n, "pcpu_alloc", 0, (size, 8, False, 0xCC0, "")) for n, size in enumerate(sizes)
    ]

    def events(of: list[int]) -> list[EventAt]:
        rows = [[0] * len(fields) for _ in of]
        for row, size in zip(rows, of, strict=True):
            row[fields.index("size")] = size
        return [EventAt(n, 0, PercpuAllocPercpu(*row)) for n, row in enumerate(rows)]  # type: ignore[arg-type]

    same = len(encode_part(packed_of(inputs, events(sizes))))
    other = len(encode_part(packed_of(inputs, events(sizes[::-1]))))
    assert same + 2000 < other


# -- hostile --------------------------------------------------------------------------------------------


def segment(nr_inputs: int, nr_events: int, inputs: object, events: object) -> bytes:
    return zlib.compress(msgpack.packb((3, nr_inputs, nr_events, inputs, events)))


def inputs_claimed(nr_rows: int, *groups: object) -> list[object]:
    return [ZERO, ZERO, ZERO, ZERO, NO_TEXT, list(groups)]


NONE: list[object] = [["*", []]] * 3 + [[]]
NO_INPUTS: list[object] = [["*", []]] * 5 + [[]]
HOSTILE = {
    "fewer inputs than none": segment(-(1 << 60), 1 << 40, inputs_claimed(0), [ZERO] * 3 + [[]]),
    "fewer events than none": segment(0, -1, NO_INPUTS, [ZERO] * 3 + [[]]),
    "rows in no group": segment(9, 0, inputs_claimed(9), NONE),
    "groups without columns that claim all rows each": segment(
        800_000, 0, inputs_claimed(0, *[["a", 800_000, []]] * 1000), NONE
    ),
    "more cells than any": segment(1 << 40, 0, inputs_claimed(0, ["a", 1 << 40, []]), NONE),
    "more cells by arguments": segment(
        800_000, 0, inputs_claimed(0, ["a", 800_000, [ZERO] * 9]), NONE
    ),
    "a group below 0": segment(1, 0, [["=", -1], *inputs_claimed(0, ["a", 1, []])[1:]], NONE),
    "a group that is not there": segment(
        1, 0, [["=", 1], *inputs_claimed(0, ["a", 1, []])[1:]], NONE
    ),
    "a call without a name": segment(1, 0, inputs_claimed(0, [7, 1, []]), NONE),
    "an event of no type": segment(0, 1, NO_INPUTS, [ZERO] * 3 + [[[99, 1, [ZERO]]]]),
    "an event below 0": segment(0, 1, NO_INPUTS, [ZERO] * 3 + [[[-1, 1, [ZERO]]]]),
    "an event with a field": segment(0, 1, NO_INPUTS, [ZERO] * 3 + [[[0, 1, [ZERO]]]]),
    "an event without fields": segment(0, 1, NO_INPUTS, [ZERO] * 3 + [[[0, 1, []]]]),
    "a column that rests on itself": segment(
        1, 0, inputs_claimed(0, ["a", 1, [["r", 0, 0, 1, ZERO]]]), NONE
    ),
    "steps are texts": segment(
        1, 0, [ZERO, ["=", "a"], *inputs_claimed(0, ["a", 1, []])[2:]], NONE
    ),
    "nothing": segment(0, 0, [], []),
    "numbers": segment(0, 0, 7, 7),
}


def looked_at(data: bytes) -> SegmentBody:
    body = unpack_segment(data)
    try:
        assert len(body.events) == body.nr_events
    except RecordingError:  # events are unpacked when asked for, and refused every time
        with pytest.raises(RecordingError):
            assert body.events
        raise
    return body


@pytest.mark.parametrize("name", HOSTILE)
def test_what_nobody_packs_is_refused_at_once(name: str) -> None:
    assert len(HOSTILE[name]) < 2000
    tracemalloc.start()
    try:
        with pytest.raises(RecordingError):
            looked_at(HOSTILE[name])
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_the_largest_segment_of_few_bytes_stays_in_bounds() -> None:
    nr_rows = CELLS_MAX // 5  # as many as there may be
    data = segment(nr_rows, 0, inputs_claimed(0, ["a", nr_rows, []]), NONE)
    assert len(data) < 200
    before = time.process_time()
    tracemalloc.start()
    try:
        assert len(unpack_segment(data).inputs) == nr_rows
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < PEAK_BYTES_MAX and time.process_time() - before < 60


@given(st.integers(0, 1 << 30))
def test_mutated_columns_raise_nothing_but_an_error_of_ours(seed: int) -> None:
    chance = random.Random(seed)
    inputs = [Input(n, "pcpu_alloc", 0, (n, 8, False, 1, "a")) for n in range(3)]
    events = [EventAt(n, 0, row(*[n] * len(row._fields))) for n, row in enumerate(ROWS[:4])]  # type: ignore[attr-defined]
    columns = msgpack.unpackb(encode_part((3, 3, 4, *packed_of(inputs, events))))
    for _ in range(chance.randrange(1, 4)):
        columns = mutated(columns, chance)
    try:
        data = zlib.compress(msgpack.packb(columns))
    except OverflowError:
        return
    try:
        body = looked_at(data)
    except RecordingError as problem:
        assert len(str(problem)) < 600
    else:
        assert len(body.inputs) + len(body.events) <= CELLS_MAX
