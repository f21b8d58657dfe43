"""A comparison as one page of HTML that needs nothing else: charts, the figures behind them, the reasons.

    head      what was compared, on which machine
    cards     one chart each, with a question as its title and a sentence on how to read it
    tables    the same listings as on the console

Plotly's script is in the page itself, so it opens without a network, today and in ten years. Light or dark
is the reader's own setting; the charts follow it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from string import Template
from typing import Any

from snapshots.compare.runner import Comparison
from tui.charts.comparison_charts import Chart, comparison_charts
from tui.debugger.table import DEC, HEX, Table
from tui.debugger.views.comparison import EMPTY_TOLD, VIEWS

CONFIG = {"displayModeBar": False, "responsive": True}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
OPEN = ("summary", "troubles")
STYLE = """
:root { --paper: #f6f7f9; --card: #ffffff; --ink: #1d2530; --soft: #5d6b7c; --line: #dfe4ea; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #12161c; --card: #1a2028; --ink: #e4e9f0; --soft: #96a3b3; --line: #2c3542; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 $font; }
main { max-width: 1280px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -.01em; }
h2 { font-size: 19px; margin: 0 0 4px; }
p { margin: 0; color: var(--soft); }
.lead { font-size: 17px; max-width: 100ch; }
.notes { margin: 12px 0 0; padding: 0; list-style: none; color: var(--soft); font-size: 14px; }
.cards { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 20px; margin: 28px 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.card { padding: 20px 22px 10px; }
.wide { grid-column: 1 / -1; }
.card p { font-size: 14px; max-width: 110ch; }
details { background: var(--card); border: 1px solid var(--line); border-radius: 12px; margin: 12px 0; }
summary { cursor: pointer; padding: 12px 22px; font-weight: 600; }
.empty summary { cursor: default; list-style: none; }
.scroll { overflow-x: auto; padding: 0 22px 16px; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 5px 16px 5px 0; border-bottom: 1px solid var(--line); }
td { vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
footer { margin-top: 28px; font-size: 13px; color: var(--soft); }
@media (max-width: 900px) { .cards { grid-template-columns: minmax(0, 1fr); } }
"""
FOLLOW_SCHEME = """
const dark = matchMedia('(prefers-color-scheme: dark)');
function paint() {
  const css = getComputedStyle(document.documentElement);
  const ink = css.getPropertyValue('--ink').trim(), line = css.getPropertyValue('--line').trim();
  const card = css.getPropertyValue('--card').trim();
  for (const chart of document.querySelectorAll('.plotly-graph-div'))
    Plotly.relayout(chart, {
      'font.color': ink, 'xaxis.gridcolor': line, 'yaxis.gridcolor': line,
      'xaxis.zerolinecolor': line, 'yaxis.zerolinecolor': line,
      'hoverlabel.bgcolor': card, 'hoverlabel.bordercolor': line, 'hoverlabel.font.color': ink,
    });
}
dark.addEventListener('change', paint);
paint();
"""
PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>$style</style>
<script>$plotly</script>
</head>
<body>
<main>
<h1>$heading</h1>
<p class="lead">$lead</p>
<ul class="notes">$notes</ul>
<div class="cards">
$cards
</div>
$tables
<footer>Made by kmemscope. Every figure was counted while simulated machines did the same work.</footer>
</main>
<script>$follow</script>
</body>
</html>
"""
)
CARD = Template(
    """<section class="card$wide" id="card-$name">
<h2>$heading</h2>
<p>$reading</p>
$figure
</section>"""
)


def comparison_page(comparison: Comparison) -> Iterator[str]:
    """Yield the page in pieces. The same comparison gives the same bytes."""
    from plotly.offline import get_plotlyjs

    work, nr_systems = comparison.workload, len(comparison.runs)
    machine = comparison.runs[0].machine.config.name if comparison.runs else "no machine"
    lead = (
        f"{len(work.operations):,} operations of {work.origin}, done by {nr_systems} per-CPU memory"
        f" system{'s' * (nr_systems != 1)} on the machine “{machine}”."
    )
    tables = {name: view(comparison) for name, view in VIEWS.items()}
    yield PAGE.substitute(
        title=escape(f"kmemscope: {work.name}"),
        heading=escape(f"The same work, side by side: {work.name}"),
        lead=escape(lead),
        notes="".join(f"<li>{escape(note)}</li>" for note in _notes(comparison, tables)),
        style=Template(STYLE).substitute(font=FONT),
        plotly=get_plotlyjs(),
        cards="\n".join(map(_card, comparison_charts(comparison))),
        tables="\n".join(
            _table_html(table, name in OPEN)
            for name, table in tables.items()
            if table.rows or name in EMPTY_TOLD
        ),
        follow=FOLLOW_SCHEME,
    )


def _notes(comparison: Comparison, tables: dict[str, Table]) -> list[str]:
    missing = [f"{each.label} did not run: {each.reason}" for each in comparison.not_run]
    return [*tables["summary"].notes, *missing]


def _card(chart: Chart) -> str:
    return CARD.substitute(
        name=chart.name,
        wide=" wide" * chart.wide,
        heading=escape(chart.heading),
        reading=escape(chart.reading),
        figure=_figure_html(chart),
    )


def _figure_html(chart: Chart) -> str:
    """Return a chart as a div and the script that fills it."""
    from plotly import graph_objects
    from plotly.io import to_html

    frame: dict[str, Any] = {
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 13},
        "showlegend": len(chart.traces) > 1,
    }
    figure = graph_objects.Figure(data=chart.traces, layout=frame | chart.layout)
    html: str = to_html(
        figure,
        include_plotlyjs=False,
        full_html=False,
        div_id=f"chart-{chart.name}",
        config=CONFIG,
        default_height=f"{chart.layout['height']}px",
    )
    return html


def _table_html(table: Table, is_open: bool) -> str:
    if not table.rows:
        return f'<details class="empty"><summary>{escape(table.title)}</summary></details>'
    numeric = [column.kind in (DEC, HEX) for column in table.columns]
    head = _row_html("th", [(column.name, column.help) for column in table.columns], numeric)
    body = "".join(
        _row_html(
            "td",
            [
                (_number_text(cell) if is_number else column.text_of(cell), "")
                for column, cell, is_number in zip(table.columns, row, numeric, strict=True)
            ],
            numeric,
        )
        for row in table.rows
    )
    opened = " open" if is_open else ""
    return (
        f"<details{opened}><summary>{escape(table.title)}</summary>"
        f'<div class="scroll"><table>{head}{body}</table></div></details>'
    )


def _row_html(tag: str, cells: list[tuple[str, str]], numeric: Sequence[bool]) -> str:
    told = []
    for (text, title), is_number in zip(cells, numeric, strict=True):
        number = ' class="number"' if is_number else ""
        hint = f' title="{escape(title)}"' if title else ""
        told.append(f"<{tag}{number}{hint}>{escape(text)}</{tag}>")
    return f"<tr>{''.join(told)}</tr>"


def _number_text(cell: object) -> str:
    if cell is None:
        return ""
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
