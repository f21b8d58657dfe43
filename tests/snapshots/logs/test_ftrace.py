from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.errors import InputError, TraceError
from snapshots.logs.ftrace import TraceEvent, TraceLog, parse_trace, pointers_look_hashed
from snapshots.logs.text_source import read_lines

GOLDEN = Path(__file__).parents[2] / "golden" / "ftrace"
RECORDED = Path(__file__).parents[4] / "shared" / "golden"

SITE = "call_site=load_module+0xf48/0x21a0 "
REQUEST = "reserved=0 is_atomic=0 size=4 align=4 "
PLACE = "base_addr=ffff88803c437000 off=8 ptr=0000000000037008"
PRICE = " bytes_alloc=16 gfp_flags=GFP_KERNEL"
FRONT = "  modprobe-257     [001] d.s2.    16.960895: "
ALLOC = FRONT + "percpu_alloc_percpu: " + SITE + REQUEST + PLACE + PRICE + "\n"
FREE = FRONT + "percpu_free_percpu: " + PLACE + "\n"
SAME_LINES = ("noirq-info", "tgid", "sym-addr", "sym-offset", "verbose", "nohash-ptr")
ALLOC_TEXT = "percpu_alloc_percpu: " + SITE + REQUEST + PLACE + PRICE


def golden(name: str) -> TraceLog:
    return parse_trace(read_lines(GOLDEN / f"{name}.txt.gz"), name)


def parse(*lines: str) -> TraceLog:
    return parse_trace(lines, "a.txt")


def only(line: str) -> TraceEvent:
    (event,) = parse(line).events
    return event


def refusal(*lines: str) -> str:
    with pytest.raises(TraceError) as caught:
        parse(*lines)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_field_of_an_allocation_is_read() -> None:
    assert only(ALLOC) == TraceEvent(
        1, "alloc", "modprobe", 257, 1, "d.s2.", 16_960_895_000, "load_module+0xf48/0x21a0",
        False, False, 4, 4, 0xFFFF88803C437000, 8, 0x37008, 16, "GFP_KERNEL",
    )  # fmt: skip


def test_every_field_of_a_free_is_read() -> None:
    event = only(FREE)
    assert (event.kind, event.base_addr, event.off, event.ptr) == (
        "free", 0xFFFF88803C437000, 8, 0x37008,
    )  # fmt: skip


def test_a_failed_allocation_has_only_its_request() -> None:
    event = only(FRONT + "percpu_alloc_percpu_fail: reserved=1 is_atomic=1 size=9 align=2\n")
    assert event[7:12] == ("", True, True, 9, 2)
    assert (event.kind, event.base_addr, event.ptr) == ("alloc_fail", 0, 0)


@pytest.mark.parametrize("kind", ["create", "destroy"])
def test_a_chunk_event_has_only_its_base(kind: str) -> None:
    event = only(FRONT + f"percpu_{kind}_chunk: base_addr=ffffe8ffffa00000\n")
    assert (event.kind, event.base_addr) == (kind, 0xFFFFE8FFFFA00000)


def test_older_kernels_print_neither_call_site_nor_price() -> None:
    event = only(FRONT + "percpu_alloc_percpu: " + REQUEST + PLACE + "\n")
    assert (event.call_site, event.size, event.bytes_alloc, event.gfp) == ("", 4, 0, "")


def test_a_call_site_may_name_a_module_after_a_space() -> None:
    line = ALLOC.replace("load_module+0xf48/0x21a0", "sctp_init+0x1/0x2 [sctp]")
    assert only(line).call_site == "sctp_init+0x1/0x2 [sctp]"


def test_pointers_may_begin_with_0x() -> None:
    assert only(FREE.replace("=ffff", "=0xffff").replace("=00000000000", "=0x")).ptr == 0x37008


@pytest.mark.parametrize(
    "task",
    [
        "init",
        "<idle>",
        "<...>",
        "kworker/u4:0",
        "a b",
        "a-1",
        "a: b",
        "x-1 [0] 1.0:",
        "a[1] (2)",
        "",
    ],
)
def test_a_task_may_bear_any_name(task: str) -> None:
    event = only(ALLOC.replace("modprobe-257", f"{task}-257"))
    assert (event.task, event.pid, event.cpu) == (task, 257, 1)


def test_the_default_rendering_is_read() -> None:
    log = golden("default")
    assert (log.rendering, log.clock, log.stamp_unit) == ("default", "time", "ns")
    assert (log.entries_in_buffer, log.entries_written, log.nr_cpus) == (309, 309, 2)
    assert [event.kind for event in log.events] == [
        "mark", *["alloc"] * 6, *["free"] * 4, *["alloc"] * 3, "create", "free", "free", "mark",
    ]  # fmt: skip
    assert log.events[14].task == "bpftool"
    assert log.events[13].flags == ".N..."
    assert not pointers_look_hashed(log)
    assert log.is_complete


@pytest.mark.parametrize("name", SAME_LINES)
def test_other_renderings_hold_the_same_events(name: str) -> None:
    def facts(log: TraceLog) -> list[tuple[object, ...]]:
        return [(*event[1:5], *event[6:16], event.text) for event in log.events]

    assert facts(golden(name)) == facts(golden("default"))


@pytest.mark.parametrize(
    ("name", "rendering"),
    [("noirq-info", "noirq-info"), ("tgid", "tgid"), ("nohash-ptr", "default")],
)
def test_the_rendering_is_named(name: str, rendering: str) -> None:
    assert golden(name).rendering == rendering


def test_without_irq_info_there_are_no_flags() -> None:
    assert {event.flags for event in golden("noirq-info").events} == {None}


def test_an_unknown_thread_group_is_skipped() -> None:
    assert only(ALLOC.replace("[001]", "(-------) [001]")).pid == 257


def test_nohash_ptr_prints_empty_gfp_flags() -> None:
    assert {event.gfp for event in golden("nohash-ptr").events} == {""}


def test_latency_format_has_relative_microseconds_and_cut_names() -> None:
    log, full = golden("latency-format"), golden("default")
    assert (log.rendering, log.clock, log.stamp_is_time) == ("latency-format", "latency", True)
    assert (log.entries_in_buffer, log.entries_written, log.nr_cpus) == (309, 309, 2)
    assert log.kernel_release == "6.1.0-56-amd64"
    for event, other in zip(log.events, full.events, strict=True):
        assert event.task == other.task[:8]
        assert event[3:5] == other[3:5]
        assert event.flags == other.flags
        assert event[7:] == other[7:]
        assert (event.stamp or 0) - (log.events[0].stamp or 0) == pytest.approx(
            (other.stamp or 0) - (full.events[0].stamp or 0), abs=1000
        )


def test_without_context_only_the_fields_are_left() -> None:
    log = golden("nocontext-info")
    assert {event[2:7] for event in log.events} == {("", -1, None, None, None)}
    assert [event[7:] for event in log.events] == [event[7:] for event in golden("default").events]
    assert (log.rendering, log.clock, log.stamp_is_time) == ("nocontext-info", "none", False)


@pytest.mark.parametrize("clock", ["counter", "x86-tsc"])
def test_clocks_that_count_give_no_time(clock: str) -> None:
    log = golden(f"clock-{clock}")
    assert (log.clock, log.stamp_unit, log.stamp_is_time) == (clock, "count", False)
    stamps = [event.stamp or 0 for event in log.events]
    assert stamps == sorted(stamps)


def test_a_trace_cmd_report_is_read() -> None:
    log = golden("trace-cmd-report")
    assert (log.rendering, log.nr_cpus, len(log.events)) == ("trace-cmd report", 2, 11)
    assert log.events[0][2:8] == ("ip", 246, 1, None, 16_100_268_000, "alloc_netdev_mqs+0x97")
    assert not pointers_look_hashed(log)


def test_a_trace_cmd_report_may_have_flags_and_nanoseconds() -> None:
    log = parse("cpus=2\n", "  ip-246  [001] d..1.  16.100268123: percpu_free_percpu:  " + PLACE)
    assert log.rendering == "trace-cmd report"
    assert (log.events[0].flags, log.events[0].stamp) == ("d..1.", 16_100_268_123)


def test_trace_cmd_prints_marks_as_an_event_of_their_own() -> None:
    log = parse(ALLOC, "  ip-2   [000]   1.000002: print:                tracing_mark_write: go\n")
    assert (log.events[1].kind, log.events[1].text, log.events[1].cpu) == ("mark", "go", 0)


def test_a_dump_at_a_crash_is_read() -> None:
    line = "[   12.345678]       ip-246     1d..1. 1563981us!: percpu_free_percpu: " + PLACE
    assert only(line)[2:7] == ("ip", 246, 1, "d..1.", 1_563_981_000)


def test_hashed_pointers_are_recognised() -> None:
    assert pointers_look_hashed(golden("hashed"))


def test_overwritten_events_show_in_the_header() -> None:
    log = golden("lost-events")
    assert (log.entries_in_buffer, log.entries_written) == (2071, 7794)
    assert not log.is_complete


@pytest.mark.parametrize(
    "text", ["CPU:1 [LOST 123 EVENTS]", "CPU:0 [LOST EVENTS]", "CPU:1 [4 EVENTS DROPPED]"]
)
def test_lines_about_lost_events_are_kept(text: str) -> None:
    log = parse(ALLOC, text + "\n", FREE)
    assert log.lost == [(2, text)]
    assert not log.is_complete


def test_other_events_are_counted_and_skipped() -> None:
    log = golden("combined")
    assert log.ignored == {
        "mm_page_alloc": 2, "mm_page_free": 2, "module_load": 2, "module_put": 2,
        "module_get": 2, "module_free": 2,
    }  # fmt: skip
    assert log.nr_other_lines == 0
    assert {event.kind for event in log.events} == {"alloc", "free", "create", "destroy", "mark"}


def test_marks_tell_their_place() -> None:
    log = golden("default")
    assert [(mark.text, log.events[mark.at].text) for mark in log.markers] == [
        ("formats begin", "formats begin"),
        ("formats end", "formats end"),
    ]


def test_a_mark_may_quote_a_percpu_line() -> None:
    log = parse(ALLOC, FRONT + "tracing_mark_write: x: percpu_free_percpu: nonsense\n")
    assert log.markers[0].text == "x: percpu_free_percpu: nonsense"


def test_another_event_may_quote_a_percpu_line() -> None:
    log = parse(ALLOC, FRONT + "console: x: percpu_free_percpu: nonsense\n")
    assert log.ignored == {"console": 1}


@pytest.mark.parametrize("option", ["raw", "hex"])
def test_renderings_without_fields_are_refused_with_the_remedy(option: str) -> None:
    with pytest.raises(TraceError, match=f"'{option}' lost the fields.* echo no{option} >"):
        golden(option)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([], "0 lines; found nothing"),
        (["hello\n", "there\n"], "2 lines; found 2 other lines, first 'hello'"),
        ([FRONT + "sched_switch: a ==> b\n"] * 3, "3 other events (sched_switch)"),
        ([FRONT + "tracing_mark_write: begin\n"], "1 marks"),
        ([FRONT + "percpu_free_percpu: base_add"], "line 1, of which the end is missing"),
    ],
)
def test_a_text_without_percpu_events_is_refused(lines: list[str], found: str) -> None:
    message = refusal(*lines)
    assert found in message
    assert "events/percpu/enable" in message


@pytest.mark.parametrize(
    ("line", "stands", "expected"),
    [
        (ALLOC.replace(" align=4", ""), "base_addr=ffff", "align=…"),
        (ALLOC.replace("off=8", "off=x"), "off=x", "off=…"),
        (ALLOC.replace("reserved=0", "reserved=2"), "reserved=2", "reserved=…"),
        (ALLOC.replace("reserved", "xx"), "call_site=", "call_site=… reserved=…"),
        (FREE.replace("ptr=", "ptr:"), "ptr:", "ptr=…"),
        (FREE.replace("\n", " more=1\n"), " more=1", "the end of the line"),
        (FREE.replace("percpu: ", "percpu "), "percpu_free", "the name of a percpu event"),
        (FREE.replace("[001]", "001"), "  modprobe", "TASK-PID [CPU] flags seconds"),
    ],
)
def test_a_malformed_line_is_named_with_line_and_column(
    line: str, stands: str, expected: str
) -> None:
    message = refusal(ALLOC, line, FREE)
    assert message.startswith("a.txt: line 2, column ")
    assert f"; expected {expected}" in message
    column = int(message.removeprefix("a.txt: line 2, column ").partition(":")[0])
    assert line[column - 1 :].startswith(stands)


@pytest.mark.parametrize("cut", range(len(FRONT) + 20, len(FREE) - 1))
def test_a_last_line_cut_anywhere_is_dropped_and_noted(cut: int) -> None:
    log = parse(ALLOC, FREE, FREE[:cut])
    assert [event.kind for event in log.events] == ["alloc", "free"]
    assert log.torn_line_no == 3


@pytest.mark.parametrize("cut", range(len(ALLOC) - 30, len(ALLOC) - 1))
def test_a_last_allocation_cut_in_its_price_is_dropped(cut: int) -> None:
    assert parse(ALLOC, ALLOC[:cut]).torn_line_no == 2


def test_a_whole_last_line_without_newline_is_kept() -> None:
    log = parse(ALLOC, FREE[:-1])
    assert len(log.events) == 2
    assert log.torn_line_no is None


def test_lines_given_without_newlines_are_all_kept() -> None:
    other = ALLOC.replace("GFP_KERNEL", "GFP_NOFS")
    assert len(parse(ALLOC[:-1], other[:-1]).events) == 2


def test_a_pointer_that_the_kernel_hid_is_refused() -> None:
    message = refusal(FREE.replace("0000000000037008", "(____ptrval____)"), ALLOC)
    assert "no_hash_pointers" in message


def test_mixed_clocks_give_no_time() -> None:
    log = parse(ALLOC, ALLOC.replace("16.960895", "16960895"))
    assert (log.stamp_unit, log.clock, log.stamp_is_time) == ("mixed", "mixed", False)


def test_numbers_of_thousands_of_digits_are_malformed() -> None:
    refusal(ALLOC.replace("size=4", "size=" + "4" * 10_000), ALLOC)


def test_long_lines_of_repeated_pieces_are_read_in_one_go() -> None:
    for piece in ("-1 ", " ", ": ", "-1 [0] ", "0: ", "#1/1 #P:"):
        hostile = piece * 100_000
        log = parse("# latency: " + hostile + "\n", hostile + "\n", ALLOC)
        assert len(log.events) == 1
        refusal(hostile + ": percpu_free_percpu: x\n", ALLOC)


PIECES = st.sampled_from(
    [FRONT, ALLOC, FREE, ALLOC_TEXT, PLACE, REQUEST, "\n", ": ", "percpu_free_percpu: ", "-1 [0] ",
     "(____ptrval____)", "tracing_mark_write: ", "1us : ", "# latency: 0 us, #1/2, CPU#0 | #P:3\n",
     "CPU:1 [LOST 1 EVENTS]\n", "cpus=2\n", "1 2 3 type: 4\n", "٣", "\0", "9" * 30]
)  # fmt: skip


@given(lines=st.lists(st.text() | st.lists(PIECES, max_size=6).map("".join), max_size=8))
def test_any_text_gives_a_log_or_an_input_error(lines: list[str]) -> None:
    try:
        log = parse_trace("".join(lines).splitlines(keepends=True), "any")
    except InputError:
        return
    assert any(event.kind != "mark" for event in log.events)
    assert [event.line_no for event in log.events] == sorted(event.line_no for event in log.events)


@given(st.data())
def test_any_damage_to_a_line_is_read_or_refused(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(ALLOC)))
    until = data.draw(st.integers(at, len(ALLOC)))
    damaged = ALLOC[:at] + data.draw(st.text(max_size=3)) + ALLOC[until:]
    try:
        log = parse_trace([FREE, damaged, FREE], "any")
    except InputError:
        return
    assert len(log.events) in (2, 3)


@pytest.mark.slow
@pytest.mark.skipif(not RECORDED.is_dir(), reason="the full recordings are not here")
@pytest.mark.parametrize(
    "path", sorted(RECORDED.glob("kernel-*/*/trace.txt.gz")), ids=lambda path: path.parent.name
)
def test_whole_recordings_lose_no_line(path: Path) -> None:
    log = parse_trace(read_lines(path), str(path))
    assert len(log.events) == log.entries_in_buffer
    assert (log.ignored, log.nr_other_lines, log.torn_line_no) == ({}, 0, None)
    assert pointers_look_hashed(log) == path.parent.name.startswith("hashed")
