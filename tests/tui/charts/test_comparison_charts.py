"""Charts of a comparison: the numbers in them are the measured ones, and Plotly takes them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plotly import graph_objects

from snapshots.compare.machines import USUAL_MACHINE
from snapshots.compare.runner import Comparison
from snapshots.compare.workload import Alloc, Workload
from tests.snapshots.compare.conftest import compared
from tui.charts.comparison_charts import Chart, comparison_charts


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compared("gen:mixed,seed=3,ops=300")


def chart(comparison: Comparison, name: str) -> Chart:
    return next(each for each in comparison_charts(comparison) if each.name == name)


def test_plotly_takes_every_chart_and_names_are_told_once(comparison: Comparison) -> None:
    charts = comparison_charts(comparison)
    names = [each.name for each in charts]
    assert len(set(names)) == len(names) >= 8
    for each in charts:
        figure = graph_objects.Figure(data=each.traces, layout=each.layout)  # it validates
        assert len(figure.data) == len(each.traces)
        assert each.heading.endswith("?")
        assert each.reading.endswith(".")


def test_the_parts_of_memory_are_those_that_were_accounted(comparison: Comparison) -> None:
    traces = chart(comparison, "memory").traces
    for index, run in enumerate(comparison.runs):
        total_kib = sum(trace["x"][index] for trace in traces)
        assert total_kib * 1024 == pytest.approx(run.measured.at_peak.total_bytes)
        assert all(trace["y"][index] == run.label for trace in traces)


def test_the_lines_are_the_samples(comparison: Comparison) -> None:
    *systems, asked = chart(comparison, "time").traces
    for run, line in zip(comparison.runs, systems, strict=True):
        assert line["x"] == [sample.nr_done for sample in run.measured.samples]
        assert line["x"][0] == 0
        assert line["x"][-1] == 300
        last = run.measured.at_end
        assert line["y"][-1] * 1024 == pytest.approx(last.total_bytes - last.total["static"])
    assert asked["name"] == "asked for"
    assert all(low <= high for low, high in zip(asked["y"], systems[-1]["y"], strict=True))


def test_references_stand_in_fields_with_their_number(comparison: Comparison) -> None:
    (trace,) = chart(comparison, "references").traces
    row = trace["y"].index("bitmap")
    told = dict(zip(trace["x"], trace["text"][row], strict=True))
    assert told["own dynamic"] == "1.00"
    assert told["another CPU's"] == "2.00"


def test_charts_without_values_are_left_out() -> None:
    quiet = compared("gen:small,ops=30", "bitmap")
    assert "troubles" not in [each.name for each in comparison_charts(quiet)]
    work = Workload("t", "test", (Alloc(1, 99_999, 8),))
    names = [each.name for each in comparison_charts(compared(work, "bitmap"))]
    assert "troubles" in names
    assert "references" not in names
    assert "remote" not in names


def test_one_node_is_no_question_and_several_add_up(comparison: Comparison) -> None:
    one = {**USUAL_MACHINE, "node": [{"cpus": "0-3", "memory_mib": 512}]}
    names = [each.name for each in comparison_charts(compared("gen:small,ops=9", "bitmap", one))]
    assert "nodes" not in names
    traces = chart(comparison, "nodes").traces
    assert [trace["name"] for trace in traces] == ["node 0", "node 1"]
    for index, run in enumerate(comparison.runs):
        in_memory = sum(run.measured.at_peak.own.per_node.values())
        assert sum(trace["x"][index] for trace in traces) * 1024 == pytest.approx(in_memory)


def test_narrow_charts_come_in_pairs(comparison: Comparison) -> None:
    for runs in (comparison.runs, comparison.runs[:1]):
        charts = comparison_charts(replace(comparison, runs=runs))
        assert sum(not each.wide for each in charts) % 2 == 0
