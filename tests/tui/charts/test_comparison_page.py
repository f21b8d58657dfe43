"""The page of a comparison: whole in itself, the same every time, and nothing in it is taken for HTML."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from snapshots.compare.runner import Comparison, NotRun
from tests.snapshots.compare.conftest import compared
from tui.charts.comparison_charts import comparison_charts
from tui.charts.comparison_page import comparison_page
from tui.debugger.views.comparison import summary_view

VOID = ("meta", "br", "link")


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compared("gen:modules,seed=3,ops=250")


@pytest.fixture(scope="module")
def page(comparison: Comparison) -> str:
    return "".join(comparison_page(comparison))


class Reader(HTMLParser):
    """Notes tags that do not close, addresses that are loaded, and the text that is seen."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str | None] = []
        self.seen = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.loaded += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.seen += data


def test_it_is_well_formed_and_loads_nothing(page: str) -> None:
    reader = Reader(page)
    assert not reader.open
    assert not reader.loaded
    assert "Plotly.newPlot" in page


def test_every_chart_has_a_card_and_every_figure_its_row(page: str, comparison: Comparison) -> None:
    reader = Reader(page)
    for chart in comparison_charts(comparison):
        assert f'id="chart-{chart.name}"' in page
        assert chart.heading in reader.seen
    for row in summary_view(comparison).rows:
        assert f"{row[1]:,}" in reader.seen
    assert "250 operations of gen:modules,seed=3,ops=250,cpus=4" in reader.seen


def test_the_same_comparison_gives_the_same_bytes(page: str, comparison: Comparison) -> None:
    assert "".join(comparison_page(comparison)) == page


def test_light_and_dark_are_the_readers_choice(page: str) -> None:
    assert "prefers-color-scheme: dark" in page
    assert '<meta name="color-scheme" content="light dark">' in page


def test_names_from_a_file_are_only_text(comparison: Comparison) -> None:
    evil = "<script>alert(1)</script>&\"'"
    work = replace(comparison.workload, name=evil, origin=evil, notes=(evil,), left_out={evil: 1})
    run = replace(comparison.runs[-1], label=evil)
    changed = Comparison(work, [run], [NotRun(evil, evil)])
    page = "".join(comparison_page(changed))
    assert "<script>alert" not in page
    assert not Reader(page).open
    assert len(re.findall(r"&lt;script&gt;alert\(1\)", page)) >= 5
    assert "did not run: &lt;script&gt;" in page
