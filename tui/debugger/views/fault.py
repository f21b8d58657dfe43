"""Why the machine stopped: what the kernel says, what CR2 and the error code hold, whose address it was.

BUG: unable to handle page fault for address: ffffc90000005000     the kernel's own lines
error code 0x0002      write to a page that is not present, by the kernel
owner                  in vmalloc area of vmalloc, its guard page
#0 …                   call stack, innermost first
"""

from __future__ import annotations

from kernel_sim.machine import Fault
from kernel_sim.mm.memory_access import PF_INSTR, PF_PROT, PF_RSVD, PF_USER, PF_WRITE
from tui.debugger.owners import whatis
from tui.debugger.session import Session
from tui.debugger.table import Cell, Column, Table

COLUMNS = (Column("fact"), Column("value"))
REASONS_JOINED = "; "


def fault_view(session: Session) -> Table:
    """Return the facts of the fault at which the machine stands, no rows if it runs."""
    fault = session.machine.fault
    where = f"at step {session.step}"
    if fault is None:
        return Table(f"No fault {where}", COLUMNS, (), ("the machine has not stopped at a fault",))
    # What matters most comes first: a small screen shows five rows.
    first, *further = [("reason", line) for line in fault.reason.split(REASONS_JOINED)]
    rows: list[tuple[Cell, ...]] = [first]
    rest: list[tuple[Cell, ...]] = [*further, ("cpu", str(fault.cpu)), ("step", str(fault.step))]
    if is_page_fault(fault):
        owner = whatis(session, fault.addr)
        rows += [
            ("cr2", f"{fault.addr:#x}"),
            ("error_code", f"{fault.error_code:#06x}: {error_code_text(fault.error_code)}"),
            ("owner", owner.summary),
        ]
        rest += [(f"owner_{name}", str(value)) for name, value in owner.facts]
    rows += [(f"#{depth}", frame) for depth, frame in enumerate(fault.frames)]
    return Table(f"The machine stopped {where}", COLUMNS, (*rows, *rest), (way_on(session),))


def way_on(session: Session) -> str:
    """Return what to do at a fault."""
    begin = session.fault_begin_step()
    return (
        f"nothing runs any more; to go on: goto {begin}, before the call that did it, and act there"
    )


def fault_lines(session: Session) -> tuple[str, ...]:
    """Return the fault in a few lines, nothing if the machine runs."""
    fault = session.machine.fault
    if fault is None:
        return ()
    lines = [f"the machine stopped: {fault.reason}"]
    if is_page_fault(fault):
        lines.append(f"  CR2 {fault.addr:#x}: {error_code_text(fault.error_code)}")
        lines.append(f"  {fault.addr:#x} is {whatis(session, fault.addr).summary}")
    lines.append(f"  on cpu {fault.cpu} in {' < '.join(fault.frames)}")
    lines.append(f"  {way_on(session)}")
    return tuple(lines)


def fault_headline(session: Session, fault: Fault) -> str:
    """Return the fault in one sentence."""
    if not is_page_fault(fault):
        return f"machine stopped on cpu {fault.cpu}: {fault.reason}"
    where = f"{_deed(fault.error_code)} {fault.addr:#x} ({_state(fault.error_code)})"
    return f"page fault on cpu {fault.cpu}: {where}, {whatis(session, fault.addr).summary}"


def is_page_fault(fault: Fault) -> bool:
    """Say whether a fault is one of an address, with CR2 and error code."""
    return fault.addr >= 0


def error_code_text(error_code: int) -> str:
    """Return the bits of a page fault's error code as a phrase."""
    who = "user" if error_code & PF_USER else "the kernel"
    return f"{_deed(error_code)} a page that is {_state(error_code)}, by {who}"


def _deed(error_code: int) -> str:
    if error_code & PF_INSTR:
        return "fetch from"
    return "write to" if error_code & PF_WRITE else "read of"


def _state(error_code: int) -> str:
    if error_code & PF_RSVD:
        return "marked with reserved bits"
    return "forbidden" if error_code & PF_PROT else "not present"
