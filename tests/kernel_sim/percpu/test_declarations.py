"""The drawback of DEFINE_STATIC_PER_CPU: what compiler and linker would have said."""

from __future__ import annotations

from kernel_sim.percpu.declarations import (
    DATA_SECTION,
    ERROR,
    OFFSET_SECTION,
    WARNING,
    check_declarations,
    declared_objects,
)


def test_a_variable_is_two_objects_in_two_sections() -> None:
    objects = declared_objects([("a.c", "\nDEFINE_PER_CPU(int, myint);\n")])
    assert [(o.name, o.section, o.where, o.is_static) for o in objects] == [
        ("per_cpu__myint", DATA_SECTION, "a.c:2", False),
        ("per_cpu_offset__myint", OFFSET_SECTION, "a.c:2", False),
    ]


def test_without_modules_it_is_one_object_and_static_is_right() -> None:
    source = [("a.c", "static DEFINE_PER_CPU(int, x);"), ("b.c", "static DEFINE_PER_CPU(int, x);")]
    assert [o.name for o in declared_objects(source, has_offsets=False)] == ["per_cpu__x"] * 2
    assert check_declarations(source, has_offsets=False) == []


def test_static_binds_to_the_first_object_only() -> None:
    source = [("a.c", "static DEFINE_PER_CPU(struct timer (*)[2], x);")]
    assert [o.is_static for o in declared_objects(source)] == [True, False]
    (finding,) = check_declarations(source)
    assert finding.severity == WARNING and finding.where == "a.c:1"
    assert "per_cpu_offset__x is known to all files" in finding.text
    assert "DEFINE_STATIC_PER_CPU(struct timer (*)[2], x)" in str(finding)


def test_two_files_with_the_same_static_do_not_link() -> None:
    findings = check_declarations(
        [("a.c", "static DEFINE_PER_CPU(int, x);"), ("b.c", "\n\nstatic DEFINE_PER_CPU(long, x);")]
    )
    errors = [str(f) for f in findings if f.severity == ERROR]
    assert errors == [
        "b.c:3: error: multiple definition of 'per_cpu_offset__x'; first defined at a.c:1"
    ]


def test_the_new_macro_keeps_both_in_their_file() -> None:
    source = [("a.c", "DEFINE_STATIC_PER_CPU(int, x);"), ("b.c", "DEFINE_STATIC_PER_CPU(int, x);")]
    assert check_declarations(source) == []
    assert all(o.is_static for o in declared_objects(source))


def test_two_globals_of_one_name_clash_with_both_objects() -> None:
    findings = check_declarations(
        [("a.c", "DEFINE_PER_CPU(int, x);"), ("b.c", "DEFINE_PER_CPU(int, x);")]
    )
    assert [f.text.split("'")[1] for f in findings] == ["per_cpu__x", "per_cpu_offset__x"]


def test_static_twice_is_an_error() -> None:
    (finding,) = check_declarations([("a.c", "static DEFINE_STATIC_PER_CPU(int, x);")])
    assert finding.severity == ERROR and "duplicate 'static'" in finding.text


def test_a_field_inside_the_parentheses_is_pasted_into_a_name() -> None:
    (finding,) = check_declarations([("a.c", "\nint n = per_cpu(cpu_info.count, cpu);")])
    assert finding.where == "a.c:2" and "expected per_cpu(cpu_info, …).count" in finding.text


def test_comments_declare_nothing() -> None:
    text = "/* static DEFINE_PER_CPU(int, a);\n*/ // static DEFINE_PER_CPU(int, b);\nint c;"
    assert check_declarations([("a.c", text)]) == []
