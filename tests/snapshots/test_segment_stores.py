from __future__ import annotations

from snapshots.segment_stores import InMemory, Shared
from snapshots.state_codec import encode_part
from tests.snapshots.conftest import BUSY, recorded, short_segments, small_config


def test_a_branch_sees_the_closed_segments_of_the_one_it_goes_off_from() -> None:
    with short_segments(5):
        timeline = recorded(small_config(cpus=4), BUSY)
        shared = Shared(timeline)
        for number in range(len(timeline.heads) - 1):
            assert shared.body(number) == timeline.body(number)
            assert shared.packed(number) == timeline.packed(number)
            assert encode_part(shared.parts(number)["clock"]) == encode_part(
                timeline.keyframe_parts(number)["clock"]
            )


def test_what_is_kept_in_memory_comes_back() -> None:
    with short_segments(5):
        timeline = recorded(small_config(cpus=4), BUSY)
        store = InMemory()
        for number in range(len(timeline.heads) - 1):
            store.keyframes.add(timeline.keyframe_parts(number))
            store.packed.append(timeline.packed(number))
        for number in range(len(timeline.heads) - 1):
            assert store.body(number) == timeline.body(number)
            kept, whole = store.parts(number), timeline.keyframe_parts(number)
            assert {name: encode_part(kept[name]) for name in kept} == {
                name: encode_part(whole[name]) for name in whole
            }
