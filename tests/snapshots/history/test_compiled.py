from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapshots.history.compiled import compile_condition, compile_text, is_true
from snapshots.history.expression import LEVELS
from snapshots.history.expression_words import ExpressionError
from snapshots.history.field_rows import FLAG, NUMBER, ROW, TEXT
from snapshots.history.fields import field_words
from snapshots.history.sight import Sight
from snapshots.timeline import Timeline

PIECES = [
    *field_words(), *(word for level in LEVELS for word in level), "chunk[0].free_bytes", "1", "0", "4K",
    '"a"', "(", ")", "not", "-", "true", "fault", "work.queued_cpu", "log.last", "percpu[4096]",
    "chunk[9].free_bytes", "mem[0, 8]", "mem[0, 16]", "nowhere",
]  # fmt: skip


def value(run: Timeline, text: str) -> object:
    return compile_text(text, run.machine).get(Sight(run.machine))


@settings(max_examples=300, deadline=None)
@given(words=st.lists(st.sampled_from(PIECES), min_size=1, max_size=9))
def test_what_compiles_has_a_value_at_every_moment(run: Timeline, words: list[str]) -> None:
    try:
        of = compile_text(" ".join(words), run.machine)
    except ExpressionError as problem:
        assert "column" in str(problem)
        return
    kinds = {NUMBER: int, FLAG: bool, TEXT: str, ROW: tuple}
    for step in (0, run.end_step // 2, run.end_step):
        run.seek(step)
        found = of.get(Sight(run.machine))
        assert found is None or isinstance(found, kinds[of.kind])
        assert compile_text(of.text, run.machine).get(Sight(run.machine)) == found


NUMBERS = st.integers(0, 1 << 20)


@given(a=NUMBERS, b=NUMBERS, c=st.integers(0, 9), word=st.sampled_from(["+", "-", "*", "&", "|"]))
def test_numbers_reckon_as_numbers_do(run: Timeline, a: int, b: int, c: int, word: str) -> None:
    reckoned = {"+": a + b, "-": a - b, "*": a * b, "&": a & b, "|": a | b}[word]
    assert value(run, f"{a} {word} {b}") == reckoned
    assert value(run, f"({a} {word} {b}) << {c}") == reckoned << c
    assert value(run, f"{a} >> {c} < {b}") == (a >> c < b)
    assert value(run, f"not ({a} <= {b} and {a} != {c})") == (not (a <= b and a != c))


def test_what_is_missing_stays_missing_and_compares_as_false(run: Timeline) -> None:
    missing = "chunk[77].free_bytes"
    assert value(run, missing) is value(run, f"{missing} + 1") is value(run, f"-{missing}") is None
    for word in ("==", "!=", "<", "<=", ">", ">="):
        assert value(run, f"{missing} {word} 0") is value(run, f"0 {word} {missing}") is False
    assert value(run, f"{missing} or true") is True
    assert value(run, f"not {missing}") is True
    assert value(run, "chunk[77].exists") is False and value(run, "chunk[0].exists") is True
    assert value(run, "1 << 100000") is value(run, "1 >> -1") is None
    assert value(run, "percpu[4096, work.queued_cpu - 100]") is None


def test_a_bare_word_beside_a_text_is_a_text(run: Timeline) -> None:
    assert compile_text("cpu[0].call == pcpu_alloc", run.machine).kind == FLAG
    assert compile_text("pcpu_alloc != cpu[0].call", run.machine).kind == FLAG
    assert value(run, "zone[0].name == DMA") is True
    assert value(run, 'zone[DMA].name == "DMA"') is True


def test_symbols_are_numbers(run: Timeline) -> None:
    name, addr = next(iter(run.machine.symbols.items()))
    assert value(run, name) == addr and value(run, f"{name} + 8") == addr + 8


def test_it_is_known_what_must_be_counted_and_what_depends_on_memory_alone(run: Timeline) -> None:
    of = compile_text("nr_events[percpu_free_percpu] + area[0x2000].generation", run.machine)
    assert (of.events, of.ptrs, of.only_memory) == (("percpu_free_percpu",), (0x2000,), False)
    for text in ("mem[0x1000, 4] + 1", "pte[4096].present", "percpu[4096, 1]", "phys[0, 8] == 3"):
        assert compile_text(text, run.machine).only_memory, text
    for text in ("mem[cpu[0].gs_base, 4]", "percpu.nr_alloc", "phys[0, 8] == step", "fault"):
        assert not compile_text(text, run.machine).only_memory, text


@pytest.mark.parametrize(
    ("text", "column", "part"),
    [
        ("chunk[1].free_byte", 10, "its fields: exists, free_bytes"),
        ("1 + chnk[1].free_bytes", 5, "did you mean chunk?"),
        ("chunk", 1, "expected chunk[N]"),
        ("chunk[1]", 6, "no value of its own"),
        ("chunk[1, 2].free_bytes", 1, "2 in brackets; expected chunk[N]"),
        ("chunk[a].free_bytes", 7, "there is no 'a'"),
        ("chunk[-5].free_bytes", 7, "expected -1 to"),
        ("cpu[9].online", 1, "there are: 0, 1, 2"),
        ("zone[Nix].free_pages", 1, "node[0].zone[DMA]"),
        ("percpu", 1, "its fields: nr_alloc"),
        ("mem[0]", 1, "1 in brackets"),
        ("mem[0, 5000]", 8, "expected 1 to 4096"),
        ("mem[0, step]", 8, "must not depend on the moment"),
        ("area[step].live", 6, "must not depend on the moment"),
        ("nr_events[nix]", 11, "there is no such event"),
        ("chunk[0].free_bytes == log.last", 21, "between a number and a text"),
        ('log.last < "a"', 10, "expected == or !="),
        ("percpu[0] < 3", 11, "between a row and a number"),
        ("percpu[0] + 3", 11, "expected a number or flag"),
        ("not percpu[0]", 1, "not with a row"),
        ("log.last + 1", 10, "with a text"),
        ("(1 + 2).x", 4, "only a component"),
        ("chunk[1][2].x", 9, "expected `.`"),
        ('"a"[1]', 1, "only a component"),
        ("fault[1]", 1, "fault: expected fault"),
    ],
)
def test_what_cannot_be_is_told_with_its_column(
    run: Timeline, text: str, column: int, part: str
) -> None:
    with pytest.raises(ExpressionError) as refused:
        compile_text(text, run.machine)
    assert part in str(refused.value), refused.value
    assert refused.value.column == column, refused.value


def test_a_row_is_no_condition(run: Timeline) -> None:
    with pytest.raises(ExpressionError, match="row of values"):
        compile_condition("percpu[4096]", run.machine)
    assert compile_condition("percpu[4096] == percpu[4096, all]", run.machine).holds(
        Sight(run.machine)
    )
    assert [is_true(each) for each in (None, 0, False, "", 3, "a", True)] == [False] * 4 + [
        True
    ] * 3
