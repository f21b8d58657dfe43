"""What is offered is simpler, and taking it again and again comes to an end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.calls import SIGNATURES
from kernel_sim.mm.gfp import GFP_KERNEL
from snapshots.what_if.program import Row
from snapshots.what_if.rebinding import PTR, Reference
from snapshots.what_if.simpler import FIXED, GFP_AT, LEAST, simpler_rows

VALUES = {
    int: st.integers(-2, 1 << 40),
    bool: st.booleans(),
    str: st.just("name"),
    bytes: st.just(b"file"),
}
ROWS = st.sampled_from(sorted(SIGNATURES)).flatmap(
    lambda do: st.builds(
        lambda args, cpu, idle: Row(7, do, cpu, args, 3, 5, idle),
        st.tuples(*(VALUES[kind] for kind in SIGNATURES[do])), st.integers(0, 3), st.booleans(),
    )
)  # fmt: skip


@given(ROWS, st.integers(0, 9))
def test_taking_what_is_offered_comes_to_an_end(row: Row, pick: int) -> None:
    for _ in range(400):
        offered = list(simpler_rows(row))
        if not offered:
            return
        assert row not in offered
        for each in offered:
            assert tuple(map(type, each.args)) == tuple(map(type, row.args))
            assert (each.number, each.do) == (row.number, row.do)
        row = offered[-1 - pick % len(offered)]
    raise AssertionError(f"still simpler after 400 times: {row}")


def test_the_most_daring_comes_first() -> None:
    row = Row(3, "pcpu_alloc", 2, (5000, 64, True, 0xA20, "here"), 9, 1, False)
    offered = list(simpler_rows(row))
    assert offered[0].cpu == 0
    assert offered[1].when_idle
    assert [each.args[0] for each in offered if each.args[0] != 5000] == [4, 4096, 2500]
    assert any(each.args[1] == 8 for each in offered)
    assert any(each.args[2] is False for each in offered)
    assert any(each.args[3] == GFP_KERNEL for each in offered)


def test_what_names_a_result_is_left_alone() -> None:
    reference = Reference(0, 1, PTR, PTR, 0, 0)
    row = Row(3, "free_percpu", 0, (5000,), 9, 3, True, (reference,))
    assert list(simpler_rows(row)) == []
    assert list(simpler_rows(row._replace(references=())))


def test_a_log_is_not_made_simpler() -> None:
    row = Row(3, "adopt_free", 0, (1, 64), 9, 3, True)
    assert list(simpler_rows(row)) == []


def test_every_rule_is_about_an_argument_that_is_there() -> None:
    from kernel_sim.inputs import SIGNATURES as ALL

    for do, place in (*LEAST, *GFP_AT, *FIXED):
        assert ALL[do][place] is int
