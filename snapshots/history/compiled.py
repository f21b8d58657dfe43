"""What an expression is worth at a moment: its tree bound to the catalogue, checked, as one function.

    tree ──► compile_tree() ──► Compiled: text, kind, unit, get(sight)
                │ kinds are checked here, so that looking at a million moments cannot fail
                └ names, fields, constants: ExpressionError with the column

A missing thing (a chunk that is not there yet, a page that is not mapped) is None: whatever is reckoned
with it is missing too, and comparing with it is false, `!=` as well. As a condition what is missing is
false.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, TypeAlias, cast

from kernel_sim.events import EVENT_TYPES
from kernel_sim.machine import Machine
from snapshots.history.expression import (
    COMPARISONS,
    Binary,
    Field,
    Flag,
    Index,
    Name,
    Node,
    Number,
    Text,
    Unary,
    parse,
    text_of,
)
from snapshots.history.expression_words import ExpressionError
from snapshots.history.field_rows import (
    ADDRESS,
    EITHER,
    FLAG,
    NUMBER,
    ROW,
    TEXT,
    WIDE_BYTES,
    Component,
    Parameter,
    Row,
)
from snapshots.history.fields import EXISTS, INDEXED, NR_EVENTS_NAMED, PERCPU_VALUE, PLAIN
from snapshots.history.sight import ALL_CPUS, Sight, Value

SHIFT_MAX: Final = 256
ONLY_MEMORY: Final = ("mem", "phys", "pte", "percpu")
"""Components that are read from pages alone, if they stand with brackets; page tables are pages too."""
NAMES_SHOWN: Final = 12
OF_ANY_SYSTEM: Final = "expected system, account, fact[FIGURE] or area[PTR]"
Get: TypeAlias = Callable[[Sight], Value]
ARITHMETIC: Final[dict[str, Callable[[int, int], int]]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "&": operator.and_, "|": operator.or_,
    "<<": operator.lshift, ">>": operator.rshift,
}  # fmt: skip
COMPARING: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge,
}  # fmt: skip


class Compiled(NamedTuple):
    """An expression ready to be looked at; events and ptrs: what its Sight must count for it.

    only_memory: as long as no page is written, it stays what it is.
    """

    text: str
    kind: str
    unit: str
    get: Get
    events: tuple[str, ...] = ()
    ptrs: tuple[int, ...] = ()
    only_memory: bool = False

    def holds(self, sight: Sight) -> bool:
        """Say whether it is true, as a condition, at this moment."""
        return is_true(self.get(sight))


class _Term(NamedTuple):
    """A compiled part; is_constant: get() needs no machine."""

    kind: str
    get: Get
    unit: str = ""
    is_constant: bool = False


def is_true(value: Value) -> bool:
    """Say whether a value, as a condition, is true: missing, 0, false and "" are not."""
    return bool(value)


def compile_text(text: str, machine: Machine) -> Compiled:
    """Return an expression for machines like this one. Raises ExpressionError, naming the column."""
    return compile_tree(parse(text), machine)


def compile_condition(text: str, machine: Machine) -> Compiled:
    """Return an expression that can be true or false. Raises ExpressionError."""
    found = compile_text(text, machine)
    if found.kind == ROW:
        raise ExpressionError(1, f"{found.text} is a row of values; expected one, or == or !=")
    return found


def compile_tree(tree: Node, machine: Machine) -> Compiled:
    """Return a tree for machines like this one. Raises ExpressionError, naming the column."""
    binder = _Binder(machine)
    term = binder.bind(tree)
    counted = (tuple(binder.events), tuple(binder.ptrs))
    return Compiled(text_of(tree), term.kind, term.unit, term.get, *counted, binder.only_memory)


class _Binder:
    """Binds the parts of one tree; events and ptrs are ordered sets of what must be counted."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.events: dict[str, None] = {}
        self.ptrs: dict[int, None] = {}
        self.only_memory = True  # until something else is bound

    def bind(self, tree: Node) -> _Term:
        """Return what a node is worth. Raises ExpressionError."""
        match tree:
            case Number(value) | Flag(value) | Text(value):
                return _constant(value)
            case Name(name, column):
                component = PLAIN.get(name)
                return self.symbol(name, column) if component is None else self.whole(tree)
            case Unary():
                return self.unary(tree)
            case Binary():
                return self.binary(tree)
            case Field() | Index():
                return self.whole(tree)

    # -- operators ---------------------------------------------------------------------------------

    def unary(self, tree: Unary) -> _Term:
        """Return `-x` or `not x`."""
        operand = self.bind(tree.operand)
        inner = operand.get
        if tree.operator == "not":
            _expect(operand, (NUMBER, FLAG, TEXT), tree.column, "not")
            return _folded(_Term(FLAG, lambda sight: not inner(sight), "", operand.is_constant))
        _expect(operand, (NUMBER, FLAG), tree.column, "-")

        def negative(sight: Sight) -> Value:
            value = inner(sight)
            return None if value is None else -cast("int", value)

        return _folded(_Term(NUMBER, negative, operand.unit, operand.is_constant))

    def binary(self, tree: Binary) -> _Term:
        """Return what stands on both sides of an operator."""
        word, column = tree.operator, tree.column
        if word in COMPARISONS:
            return self.comparison(tree)
        left, right = self.bind(tree.left), self.bind(tree.right)
        is_constant = left.is_constant and right.is_constant
        if word in ("and", "or"):
            for side in (left, right):
                _expect(side, (NUMBER, FLAG, TEXT), column, word)
            return _folded(_Term(FLAG, _joined(word, left.get, right.get), "", is_constant))
        for side in (left, right):
            _expect(side, (NUMBER, FLAG), column, word)
        get = _reckoned(word, left.get, right.get)
        return _folded(_Term(NUMBER, get, left.unit or right.unit, is_constant))

    def comparison(self, tree: Binary) -> _Term:
        """Return a comparison; beside a text a bare word is a text, as shells eat quotes."""
        left, right = self.sides(tree)
        kinds = {FLAG: NUMBER}
        left_kind, right_kind = (kinds.get(side.kind, side.kind) for side in (left, right))
        if left_kind != right_kind:
            raise ExpressionError(
                tree.column, f"{tree.operator} between a {left.kind} and a {right.kind}; expected two alike"
            )  # fmt: skip
        if left_kind != NUMBER and tree.operator not in ("==", "!="):
            raise ExpressionError(
                tree.column, f"{tree.operator} between two of {left.kind}; expected == or !="
            )
        compare, one, other = COMPARING[tree.operator], left.get, right.get

        def holds(sight: Sight) -> Value:
            first = one(sight)
            if first is None:
                return False
            second = other(sight)
            return second is not None and compare(first, second)

        is_constant = left.is_constant and right.is_constant
        return _folded(_Term(FLAG, holds, "", is_constant))

    def sides(self, tree: Binary) -> tuple[_Term, _Term]:
        """Return both sides of a comparison."""
        if isinstance(tree.left, Name) and not isinstance(tree.right, Name):
            right = self.bind(tree.right)
            return self.beside(tree.left, right), right
        left = self.bind(tree.left)
        if isinstance(tree.right, Name):
            return left, self.beside(tree.right, left)
        return left, self.bind(tree.right)

    def beside(self, tree: Name, other: _Term) -> _Term:
        """Return what a name means beside a value."""
        if other.kind == TEXT and tree.name not in PLAIN:
            return _constant(tree.name)
        return self.bind(tree)

    # -- names -------------------------------------------------------------------------------------

    def symbol(self, name: str, column: int) -> _Term:
        """Return the value of a symbol: the kernel's for ever, a module's as long as it is loaded."""
        value = self.machine.symbols.get(name)
        if value is not None:
            return _constant(value)._replace(unit=ADDRESS)
        if _module_symbol(self.machine, name) is None:
            if name in INDEXED:
                usage = INDEXED[name].usage
                raise ExpressionError(column, f"{name}: which one? expected {usage}")
            raise ExpressionError(column, f"there is no {name!r}; {self.nearest(name)}")
        self.only_memory = False
        return _Term(NUMBER, lambda sight: _module_symbol(sight.machine, name), ADDRESS)

    def nearest(self, name: str) -> str:
        """Return what may have been meant."""
        names = [*PLAIN, *INDEXED, *self.machine.symbols]
        near = difflib.get_close_matches(name, names, n=1)
        known = ", ".join(dict.fromkeys([*INDEXED, *PLAIN]))
        meant = f"did you mean {near[0]}? " if near else ""
        return f"{meant}expected a symbol or one of {known}"

    # -- components --------------------------------------------------------------------------------

    def whole(self, tree: Node) -> _Term:
        """Return a component's field, or what it is worth itself."""
        row_name, column = "", tree.column
        thing = tree
        if isinstance(tree, Field):
            row_name, thing = tree.name, tree.base
        name, indexes, last = _path(thing)
        table = INDEXED if indexes else PLAIN
        component = table.get(name)
        if component is None:
            raise ExpressionError(last, self.no_component(name, bool(indexes)))
        if component.of_bitmap and self.machine.bitmap is None:
            here = f"and this machine has {self.machine.system.name}; {OF_ANY_SYSTEM}"
            raise ExpressionError(column, f"{component.usage} is of the bitmap allocator, {here}")
        row = component.rows.get(row_name) if row_name else component.value
        if row is None:
            fields = ", ".join(component.rows) or "none"
            problem = f"no field {row_name!r}" if row_name else "no value of its own"
            raise ExpressionError(column, f"{component.usage} has {problem}; its fields: {fields}")
        return self.looked_up(component, row, row_name, indexes, last)

    def no_component(self, name: str, has_indexes: bool) -> str:
        """Return the text of an error about a name with or without brackets."""
        other = (PLAIN if has_indexes else INDEXED).get(name)
        if other is not None:
            return f"{name}: expected {other.usage}"
        return f"there is no {name!r}; {self.nearest(name)}"

    def looked_up(
        self, component: Component, row: Row, row_name: str, indexes: tuple[Node, ...], column: int
    ) -> _Term:
        """Return a row of the component that the indexes name."""
        parameters = component.parameters
        nr_needed = sum(not parameter.optional for parameter in parameters)
        if not nr_needed <= len(indexes) <= len(parameters):
            raise ExpressionError(column, f"{len(indexes)} in brackets; expected {component.usage}")
        terms = [
            self.index(component, parameter, index)
            for parameter, index in zip(parameters, indexes, strict=False)
        ]
        self.note_counted(component, row_name, terms)
        if component.name not in ONLY_MEMORY or not indexes or self.asks_system(component):
            self.only_memory = False
        kind = _kind_of(component, row, terms)
        if component.is_fixed and all(term.is_constant for term in terms):
            values = [term.get(Sight(self.machine)) for term in terms]
            if component.find(Sight(self.machine), *values) is None:
                raise ExpressionError(column, self.not_there(component))
        get = _getter(component, row, tuple(term.get for term in terms), row_name == EXISTS)
        return _Term(kind, get, row.unit)

    def asks_system(self, component: Component) -> bool:
        """Say whether where a copy is may change without a page being written: a ptr is no sum there."""
        return component is PERCPU_VALUE and self.machine.bitmap is None

    def not_there(self, component: Component) -> str:
        """Return the text of an error about a part that no moment of this machine has."""
        machine = self.machine
        there: Iterable[str] = map(str, machine.tlbs if component.name == "tlb" else machine.cpus)
        if component.name == "fact":
            there = (name for name, _ in machine.system.facts())
        elif component.name == "node_bytes":
            there = map(str, machine.topology.nodes)
        elif component.name.endswith("zone"):
            there = (
                f"{number} node[{zone.node}].zone[{zone.name}]"
                for number, zone in enumerate(machine.pages.zones)
            )
        shown = list(there)
        names = ", ".join(shown[:NAMES_SHOWN]) or "none"
        more = ", …" if len(shown) > NAMES_SHOWN else ""
        return f"there is no such {component.name}, or more than one; there are: {names}{more}"

    def index(self, component: Component, parameter: Parameter, tree: Node) -> _Term:
        """Return what stands in brackets. Raises ExpressionError if it does not fit there."""
        is_word = isinstance(tree, Name)
        if isinstance(tree, Name) and tree.name in parameter.names:
            term = _constant(parameter.names[tree.name])
        elif isinstance(tree, Name) and parameter.kind in (TEXT, EITHER):
            term = _constant(tree.name)
        else:
            term = self.bind(tree)
        wanted = {EITHER: (NUMBER, TEXT), TEXT: (TEXT,)}.get(parameter.kind, (NUMBER, FLAG))
        if term.kind not in wanted:
            raise ExpressionError(
                tree.column,
                f"{component.usage}: {parameter.name} is a {term.kind}; expected a {parameter.kind}",
            )
        if parameter.constant and not term.is_constant:
            raise ExpressionError(
                tree.column, f"{component.usage}: {parameter.name} must not depend on the moment"
            )
        if term.is_constant and parameter.kind == NUMBER and not is_word:
            value = cast("int", term.get(Sight(self.machine)))
            if not parameter.least <= value <= parameter.most:
                raise ExpressionError(
                    tree.column,
                    f"{component.usage}: {parameter.name} is {value}; expected {parameter.least} to"
                    f" {parameter.most}",
                )
        if not term.is_constant:
            term = term._replace(get=_not_below(parameter.least, term.get))
        if component is NR_EVENTS_NAMED and term.get(Sight(self.machine)) not in EVENT_TYPES:
            names = " ".join(EVENT_TYPES)
            raise ExpressionError(tree.column, f"there is no such event; there are: {names}")
        return term

    def note_counted(self, component: Component, row_name: str, terms: list[_Term]) -> None:
        """Remember what must be counted from the run's beginning."""
        if component is NR_EVENTS_NAMED:
            self.events[str(terms[0].get(Sight(self.machine)))] = None
        elif component.name == "area" and row_name == "generation":
            self.ptrs[cast("int", terms[0].get(Sight(self.machine)))] = None


def _path(tree: Node) -> tuple[str, tuple[Node, ...], int]:
    """Return (dotted name, all indexes, column) of node[0].zone[1]. Raises ExpressionError."""
    match tree:
        case Name(name, column):
            return name, (), column
        case Index(base, indexes):
            if isinstance(base, Index):
                raise ExpressionError(tree.column, "[ behind ]: expected `.` and a field")
            name, outer, column = _path(base)
            return name, (*outer, *indexes), column
        case Field(base, name, column):
            outer_name, outer, _ = _path(base)
            return f"{outer_name}.{name}", outer, column
    raise ExpressionError(tree.column, "only a component has fields and parts")


def _getter(component: Component, row: Row, indexes: tuple[Get, ...], is_exists: bool) -> Get:
    """Return the function that finds a component's part and reads a row of it."""
    find, read = component.find, row.get
    takes_none = is_exists or (component.name == "fault" and row is component.value)
    if not indexes:

        def plain(sight: Sight) -> Value:
            thing = find(sight)
            return None if thing is None and not takes_none else read(thing)

        return plain
    if len(indexes) == 1:
        only = indexes[0]

        def of_one(sight: Sight) -> Value:
            index = only(sight)
            thing = None if index is None else find(sight, index)
            return None if thing is None and not takes_none else read(thing)

        return of_one

    def of_some(sight: Sight) -> Value:
        values = [index(sight) for index in indexes]
        thing = None if None in values else find(sight, *values)
        return None if thing is None and not takes_none else read(thing)

    return of_some


def _kind_of(component: Component, row: Row, terms: list[_Term]) -> str:
    """Return the kind of value; bytes are a text where there are more than fit a number."""
    if component is PERCPU_VALUE:
        if len(terms) == 1 or (terms[1].is_constant and terms[1].get(_NOWHERE) == ALL_CPUS):
            return ROW
        if not terms[1].is_constant or len(terms) == 2:
            return NUMBER
    if component.value is row and row.kind == NUMBER and len(terms) > 1:
        return TEXT if cast("int", terms[-1].get(_NOWHERE)) > WIDE_BYTES else NUMBER
    return row.kind


_NOWHERE: Final = cast("Sight", None)
"""Constants look at nothing."""


def _not_below(least: int, get: Get) -> Get:
    """Return a getter whose numbers below the least one are missing: -1 may be a word for `all`."""

    def checked(sight: Sight) -> Value:
        value = get(sight)
        return None if isinstance(value, int) and value < least else value

    return checked


def _constant(value: int | str | bool) -> _Term:
    kind = FLAG if isinstance(value, bool) else TEXT if isinstance(value, str) else NUMBER
    return _Term(kind, lambda sight: value, "", is_constant=True)


def _folded(term: _Term) -> _Term:
    """Return a term that is reckoned once if nothing in it depends on the moment."""
    if not term.is_constant:
        return term
    value = term.get(_NOWHERE)
    return term._replace(get=lambda sight: value)


def _expect(term: _Term, kinds: tuple[str, ...], column: int, word: str) -> None:
    if term.kind not in kinds:
        wanted = " or ".join(kinds)
        raise ExpressionError(column, f"{word} with a {term.kind}; expected a {wanted}")


def _joined(word: str, left: Get, right: Get) -> Get:
    if word == "and":
        return lambda sight: bool(left(sight)) and bool(right(sight))
    return lambda sight: bool(left(sight)) or bool(right(sight))


def _reckoned(word: str, left: Get, right: Get) -> Get:
    reckon = ARITHMETIC[word]
    is_shift = word in ("<<", ">>")

    def reckoned(sight: Sight) -> Value:
        first, second = left(sight), right(sight)
        if first is None or second is None:
            return None
        if is_shift and not 0 <= cast("int", second) <= SHIFT_MAX:
            return None
        return reckon(cast("int", first), cast("int", second))

    return reckoned


def _module_symbol(machine: Machine, name: str) -> int | None:
    for module in machine.modules.modules:
        for symbol in module.symbols:
            if symbol.name == name:
                return symbol.value
    return None
