from __future__ import annotations

from tui.debugger.session import Session
from tui.debugger.views.zones import zones_view


def test_zones_accounts_for_every_page(busy: Session) -> None:
    table = zones_view(busy)
    for row in table.rows:
        _, _, present, free, reserved, allocated, *blocks = row
        assert present == free + reserved + allocated
        assert free == sum(count << order for order, count in enumerate(blocks))


def test_zones_notes_how_requests_of_each_node_were_met(busy: Session) -> None:
    notes = zones_view(busy).notes
    assert len(notes) == 2
    for node, note in enumerate(notes):
        hits = busy.machine.pages.numa_hit[node]
        assert hits > 0 and note.startswith(f"node {node}: {hits} pages asked for here and given")
