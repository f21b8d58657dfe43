"""A stranger's keyframes and inputs: what fails leaves a sound position, and nothing false is believed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest

from kernel_sim.boot import boot
from kernel_sim.check import check_machine
from kernel_sim.config import MachineConfig
from kernel_sim.errors import ConfigError, KernelSimError
from kernel_sim.mm.gfp import GFP_KERNEL
from snapshots import timeline as timeline_module
from snapshots.container import limits
from snapshots.errors import RecordingError
from snapshots.recording import Origin, open_recording, save_timeline
from snapshots.state_codec import decode_part, state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from snapshots.verify import verify_recording
from tests.kernel_sim.whole_machines import OBJECTS, whole_config
from tests.snapshots.conftest import Pieces, mutated, short_segments
from tui.debugger.console import answer
from tui.debugger.errors import CommandError
from tui.debugger.session import Session

LOOKS = (
    "zones", "pagelists", "slabinfo", "tlb", "tlb 0", "pagetables", "hotplug", "lsmod",
    "module exporter", "symbols", "zoneinfo", "pagetypeinfo", "vmallocinfo", "meminfo", "iomem",
    "proc modules", "buddyinfo", "cpus", "vmalloc", "digest", "walk 0xffffc90000000000",
    "whatis 0xffff888000100000", "whatis 0xffffffffc0000000", "whatis phys:0x7fe000",
)  # fmt: skip


def give(timeline: Timeline, do: str, cpu: int, *args: int | str | bool | bytes) -> object:
    number = timeline.give(do, cpu, args)
    timeline.advance(NO_LIMIT)
    call = timeline.calls.get(number)
    return call.result if call is not None else None


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording whose keyframes have every part there is but fixmap."""
    path = tmp_path_factory.mktemp("saved") / "whole.kms"
    with short_segments(5):
        timeline = Timeline(boot(whole_config(nr_cpus=4, nr_online=3)))
        give(timeline, "alloc_pages", 1, 3, GFP_KERNEL, -1)
        image = (OBJECTS / "exporter-x86-64.o").read_bytes()
        give(timeline, "load_module", 0, image, "exporter", "init: a = pcpu_alloc 64 8")
        give(timeline, "kmalloc_node", 0, 100, GFP_KERNEL, -1)
        give(timeline, "vmalloc", 1, 20000)
        give(timeline, "cpu_up", 0, 3)
        give(timeline, "fail_page_alloc", 0, "nth=900 caller=vmalloc")
        give(timeline, "cpuhp_fail", 0, 2, 180)
        give(timeline, "cpu_down", 0, 1)
        for _ in range(6):
            give(timeline, "pcpu_alloc", 0, 8000, 8, False, GFP_KERNEL, "f+0x1")
        save_timeline(path, timeline, Origin())
    return path


@pytest.fixture
def pieces(saved: Path) -> Pieces:
    return Pieces.of(saved)


def broken_at(pieces: Pieces, keyframe: int, name: str, change: Callable[[object], object]) -> None:
    place = pieces.places("Keyframe")[keyframe]
    pieces.set_part(place, name, msgpack.packb(change(pieces.part(place, name))))


def look_everywhere(path: Path) -> int:
    """Stand at every keyframe and look at everything; returns how often it was refused in words."""
    nr_refused = 0
    try:
        opened = open_recording(path)
    except KernelSimError:
        return 1
    session = Session(opened.timeline, opened.origin)
    for head in reversed(opened.timeline.heads):
        for line in (f"goto {head.first_step}", *LOOKS):
            try:
                asyncio.run(answer(session, line))
            except CommandError as problem:
                assert len(str(problem)) < 2000
                nr_refused += 1
    opened.reader.close()
    return nr_refused


def test_a_true_recording_is_looked_at_without_complaint(saved: Path) -> None:
    assert look_everywhere(saved) <= 6  # the module is not there yet, at the first keyframes
    assert verify_recording(saved) == []


def survive(pieces: Pieces, path: Path, seed: int, nr_mutations: int) -> int:
    chance = random.Random(seed)
    nr_refused = 0
    for _ in range(nr_mutations):
        records = list(pieces.records)
        place = chance.choice(pieces.places("Keyframe"))
        named = pieces.changed_parts(place)
        name = chance.choice([each for each in named if not each.startswith(("frame.", "chunk."))])
        try:
            broken_at(
                pieces,
                pieces.places("Keyframe").index(place),
                name,
                lambda part: mutated(part, chance),
            )
            pieces.write(path)
        except OverflowError:
            continue  # the mutation cannot be written
        nr_refused += look_everywhere(path) > 6
        pieces.records = records
    return nr_refused


def test_no_mutated_keyframe_ends_in_a_traceback(tmp_path: Path, pieces: Pieces) -> None:
    survive(pieces, tmp_path / "hostile.kms", 1, 25)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 104))
def test_no_mutated_keyframe_of_a_long_campaign_ends_in_a_traceback(
    tmp_path: Path, pieces: Pieces, seed: int
) -> None:
    survive(pieces, tmp_path / "hostile.kms", seed, 300)


def test_a_keyframe_that_cannot_be_loaded_leaves_a_sound_position(
    tmp_path: Path, saved: Path, pieces: Pieces
) -> None:
    opened = open_recording(saved)
    digests = {}
    for step in range(0, opened.timeline.end_step, 7):
        opened.timeline.seek(step)
        digests[step] = state_digest(opened.timeline.machine)
    opened.reader.close()
    broken_at(pieces, 1, "pages", lambda part: part | {"zones": []})  # type: ignore[operator]
    opened = open_recording(pieces.write(tmp_path / "broken.kms"))
    timeline = opened.timeline
    heads = timeline.heads
    timeline.seek(heads[2].first_step)
    with pytest.raises(KernelSimError):
        timeline.seek(heads[1].first_step)
    assert timeline.step == 0 and not timeline.is_stale
    assert state_digest(timeline.machine) == digests[0]
    for step, digest in digests.items():
        if not heads[1].first_step <= step < heads[2].first_step:
            timeline.seek(step)
            assert state_digest(timeline.machine) == digest, step
    opened.reader.close()


def test_an_input_of_a_file_that_is_refused_is_refused_every_time(
    tmp_path: Path, pieces: Pieces
) -> None:
    place = pieces.places("Segment")[-1]
    inputs, events = pieces.segment_rows(place)
    inputs[0][1:4] = ["cpuhp_fail", 0, [9, 9]]  # type: ignore[index]
    pieces.set_segment_rows(place, (inputs, events))
    opened = open_recording(pieces.write(tmp_path / "hostile.kms"))
    timeline = opened.timeline
    for _ in range(3):
        with pytest.raises(ConfigError, match="there is no CPU 9"):
            timeline.seek(NO_LIMIT)
        assert timeline.step == timeline.heads[-1].first_step
    opened.reader.close()


def test_an_input_that_is_refused_is_not_part_of_the_run(tmp_path: Path) -> None:
    timeline = Timeline(boot(whole_config()))
    give(timeline, "vmalloc", 0, 4096)
    step, digest = timeline.step, state_digest(timeline.machine)
    for do, args in (("cpuhp_fail", (0, 7)), ("fail_page_alloc", ("nth=x",)), ("kfree", ("a",))):
        with pytest.raises(ConfigError):
            give(timeline, do, 0, *args)
        assert (timeline.step, timeline.nr_inputs) == (step, 1)
        assert state_digest(timeline.machine) == digest
    give(timeline, "vmalloc", 0, 8192)
    save_timeline(tmp_path / "run.kms", timeline, Origin())
    assert verify_recording(tmp_path / "run.kms") == []


def test_what_came_from_a_file_has_changed_only_if_it_has(saved: Path) -> None:
    opened = open_recording(saved)
    for head in opened.timeline.heads:
        opened.timeline.seek(head.first_step)
        check_machine(opened.timeline.machine)
    opened.reader.close()


# -- what is saved can be opened ------------------------------------------------------------------------


def test_large_modules_between_two_keyframes_are_saved_and_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline_module, "KEYFRAME_EVERY_BYTES", 20_000)
    timeline = Timeline(boot(whole_config()))
    image = (OBJECTS / "plain-x86-64.o").read_bytes() + bytes(15_000)
    for _ in range(3):
        assert give(timeline, "load_module", 0, image, "plain", "") == 0
        assert give(timeline, "delete_module", 0, "plain") == 0
    assert len(timeline.heads) == 3
    save_timeline(tmp_path / "run.kms", timeline, Origin())
    assert verify_recording(tmp_path / "run.kms") == []


def test_more_bytes_than_a_segment_holds_are_refused_while_a_call_is_parked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timeline_module, "KEYFRAME_EVERY_BYTES", 1000)
    monkeypatch.setattr(timeline_module, "OPEN_BYTES_MAX", 3000)
    timeline = Timeline(boot(whole_config()))
    timeline.give("pcpu_alloc", 1, (64, 8, False, GFP_KERNEL, ""))
    timeline.give("run_to_lock", 1, (1,))
    timeline.advance(NO_LIMIT)
    give(timeline, "load_module", 0, bytes(2000), "one", "")
    with pytest.raises(ConfigError, match=r"load_module: 40.. bytes given since the last keyframe"):
        timeline.give("load_module", 0, (bytes(2000), "two", ""))
    assert timeline.nr_inputs == 3


def test_many_events_close_a_segment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(timeline_module, "KEYFRAME_EVERY_EVENTS", 10)
    timeline = Timeline(boot(whole_config(trace={"kmem": True})))
    for _ in range(3):
        give(timeline, "vmalloc", 0, 100_000)
    assert len(timeline.heads) == 3
    save_timeline(tmp_path / "run.kms", timeline, Origin())
    assert verify_recording(tmp_path / "run.kms") == []


def test_a_config_too_long_for_a_header_stands_in_a_record(tmp_path: Path) -> None:
    symbols = {f"function_{n}": f"{0xFFFFFFFF81000000 + 16 * n:#x}" for n in range(4000)}
    mapping = whole_config().to_mapping() | {"symbols": symbols}
    config = MachineConfig.from_mapping(mapping, where="long")
    timeline = Timeline(boot(config))
    give(timeline, "vmalloc", 0, 4096)
    path = tmp_path / "run.kms"
    save_timeline(path, timeline, Origin())
    opened = open_recording(path)
    assert opened.config == config
    opened.reader.close()
    assert verify_recording(path) == []
    pieces = Pieces.of(path)
    pieces.records = [row for row in pieces.records if row[0] != "Config"]
    with pytest.raises(RecordingError, match="0 records Config; expected the one"):
        open_recording(pieces.write(tmp_path / "none.kms"))


def test_a_part_of_countless_maps_is_refused_before_it_is_built() -> None:
    nr_maps = limits.PART_MAPS_MAX + 1
    with pytest.raises(RecordingError, match="more than 65536 maps"):
        decode_part(b"\xdd" + nr_maps.to_bytes(4, "big") + b"\x80" * nr_maps)
    page = b"\x80" * (2 * nr_maps)  # no maps, but bytes of memory that look like their heads
    assert decode_part(b"\xc6" + len(page).to_bytes(4, "big") + page) == page
