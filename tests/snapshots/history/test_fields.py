from __future__ import annotations

import pytest

from snapshots.history.compiled import compile_text
from snapshots.history.field_rows import EITHER, FLAG, NUMBER, ROW, TEXT, Component
from snapshots.history.fields import CATALOGUE, INDEXED, PLAIN, field_words
from snapshots.history.sight import Sight
from snapshots.timeline import Timeline

SAMPLES = {
    "N": "0", "PAGE": "0", "ZONE": "0", "NODE": "0", "CPU": "1", "NAME": '"hits"', "FIGURE": "chunks",
    "PTR": "4096", "ADDR": "0xffff888000100000", "BYTES": "4", "EVENT": '"percpu_free_percpu"',
}  # fmt: skip


def typed(component: Component) -> str:
    """How somebody would type it."""
    values = [SAMPLES[parameter.name] for parameter in component.parameters]
    outer, dot, inner = component.name.partition(".")
    if dot:
        return f"{outer}[{values[0]}].{inner}[{', '.join(values[1:])}]"
    return f"{outer}[{', '.join(values)}]" if values else outer


def test_every_row_can_be_asked_for_at_every_step_and_is_of_its_kind(run: Timeline) -> None:
    kinds = {NUMBER: int, FLAG: bool, TEXT: str, ROW: tuple}
    nr_rows = 0
    for component in CATALOGUE:
        if component.name == "tlb" and not run.machine.tlbs:
            continue
        texts = [f"{typed(component)}.{name}" for name in component.rows]
        texts += [typed(component)] * (component.value is not None)
        for text in texts:
            of = compile_text(text, run.machine)
            for step in range(run.first_step, run.end_step, 23):
                run.seek(step)
                value = of.get(Sight(run.machine))
                assert value is None or type(value) is kinds[of.kind], (text, step, value)
                nr_rows += 1
    run.seek(run.end_step)
    assert nr_rows > 500


def test_every_row_says_what_it_means_and_names_do_not_clash() -> None:
    for component in CATALOGUE:
        assert component.help and (component.rows or component.value)
        assert all(row.help for row in component.rows.values())
        assert {each.kind for each in component.parameters} <= {NUMBER, TEXT, EITHER}
    assert len(PLAIN) + len(INDEXED) == len(CATALOGUE)
    words = field_words()
    assert len(words) == len(set(words))
    assert {
        "chunk[N].free_bytes",
        "node[NODE].zone[ZONE].free_pages",
        "percpu[PTR, CPU, BYTES]",
    } <= set(words)


@pytest.mark.parametrize("name", ["first", "reserved"])
def test_chunks_have_names_too(run: Timeline, name: str) -> None:
    number = {"first": 0, "reserved": -1}[name]
    chunk = run.machine.percpu.chunks.get(number)
    of = compile_text(f"chunk[{name}].free_bytes", run.machine)
    assert of.get(Sight(run.machine)) == (None if chunk is None else chunk.free_bytes)
