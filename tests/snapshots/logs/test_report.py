"""What a replay says: lines, JSON, and what a recording keeps of it."""

from __future__ import annotations

import json

from snapshots.logs.ordering import Divergence, Inferred
from snapshots.logs.report import SHOWN_MAX, ReplayReport
from snapshots.recording import Origin

DIVERGENCE = Divergence(
    7, 3, "place", "offset 8 of chunk 1", "offset 4 of chunk 1", "chunk 1: full"
)
INFERRED = Inferred(5, "before burst", 4, "decided before")


def report_of(*divergences: Divergence) -> ReplayReport:
    return ReplayReport(
        "some/where/trace.txt", "machine", nr_operations=9, nr_compared=5,
        divergences=list(divergences), inferred=[INFERRED], notes=["a note"],
        counts={"early_operations": 71},
    )  # fmt: skip


def test_a_report_without_divergences_is_good() -> None:
    report = report_of()
    assert report.ok
    assert report.lines() == [
        "some/where/trace.txt: machine, predicted",
        "  a note",
        "  early operations: 71",
        "  inferred choices: 1 (--why tells them)",
        "9 operations, 5 placements compared, 0 divergences",
    ]


def test_a_divergence_is_told_with_line_expectation_and_surroundings() -> None:
    report = report_of(DIVERGENCE)
    assert not report.ok
    expected = (
        "  divergence at line 7: place: expected offset 8 of chunk 1, got offset 4 of chunk 1"
    )
    assert report.lines()[-3:] == [expected, "    chunk 1: full", report.summary]
    assert report.summary.endswith("1 divergences")


def test_why_tells_every_choice() -> None:
    lines = report_of().lines(why=True)
    assert "  inferred choices: 1" in lines
    assert "    line 5: before burst: decided before" in lines


def test_many_divergences_are_counted_but_not_all_shown() -> None:
    lines = report_of(*[DIVERGENCE._replace(around="")] * (SHOWN_MAX + 3)).lines()
    assert sum("divergence at line" in line for line in lines) == SHOWN_MAX
    assert "  … and 3 more" in lines


def test_json_has_all_of_it() -> None:
    values = json.loads(json.dumps(report_of(DIVERGENCE).to_json()))
    assert values["divergences"] == [DIVERGENCE._asdict()]
    assert values["inferred"] == [INFERRED._asdict()]
    assert (values["operations"], values["placements_compared"], values["ok"]) == (9, 5, False)
    assert (values["mode"], values["counts"]) == ("predicted", {"early_operations": 71})


def test_a_recording_keeps_the_name_but_not_the_path() -> None:
    origin = report_of(DIVERGENCE).origin()
    assert origin.source == "trace.txt"
    assert ReplayReport("C:\\logs\\run\\", "machine").origin().source == "run"
    assert Origin.from_body(origin.to_body()) == origin
    assert origin.divergences == [list(DIVERGENCE)]
