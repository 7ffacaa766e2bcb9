"""Reading specs from files: what a person can get wrong in YAML or JSON, each told with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from course_stack.spec import SpecError, json_schema, load_spec
from tests.course_stack.specs import course

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples/courses").glob("*.yaml"))
SCHEMA = ROOT / "docs/course-spec.schema.json"


def refused(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert str(path) in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


def text_of(**changes: Any) -> str:
    return yaml.safe_dump(course(**changes), sort_keys=False)


def test_yaml_json_and_mapping_give_the_same_spec(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text_of())
    (tmp_path / "c.json").write_text(json.dumps(course(), indent="\t"))
    assert load_spec(tmp_path / "c.yaml") == load_spec(str(tmp_path / "c.json")) == load_spec(course())


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbf" + text_of().replace("\n", "\r\n").encode())
    assert load_spec(tmp_path / "c.yaml") == load_spec(course())
    (tmp_path / "c.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(course()).encode())
    assert load_spec(tmp_path / "c.json") == load_spec(course())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- a\n- b\n", "must have one field a line"),
        ("just text", "must have one field a line"),
        ("slug: a\nseats: 5\nslug: b\n", "line 3, column 1: slug is given twice, first in line 1"),
        (
            "slug: a\nresources:\n  memory_limit: 1\n  memory_limit: 2\n",
            "line 4, column 3: memory_limit is given twice",
        ),
        ("slug: a\n\tseats: 5\n", "line 2, column 1: a tab; indent with spaces"),
        ("slug: a\ntitle: x: y\n", "line 2, column 9:"),
        ("slug: [a\n", "line 2"),
        ("a: &x [1]\nb: *x\n", "line 2, column 4: references"),
        ("slug: !!python/object/apply:os.system [ls]\n", "line 1, column 7:"),
        ("slug: a\n---\nslug: b\n", "line 2, column 1:"),
        ("? [a]\n: b\n", "line 1, column 3:"),
        ("slug: a\0\n", "line 1: a character"),
        ("seats: " + "9" * 5000 + "\n", "number that is too long"),
        (b"title: \xff\n", "is not text in UTF-8 (byte 8)"),
        ("[" * 5000, "nested too deeply"),
        ("x" * 1_000_001, "too large"),
    ],
)
def test_broken_yaml(tmp_path: Path, content: str | bytes, expected: str) -> None:
    assert refused(tmp_path / "c.yaml", content).startswith(expected) or expected in refused(
        tmp_path / "c.yaml", content
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "line 1, column 1"),
        ('{"slug": "a", "slug": "b"}', "“slug” is given twice"),
        ('{\n"slug": }', "line 2, column 9: this is not JSON"),
        ('{"home_size": NaN}', "NaN is not a number"),
        ('{"seats": ' + "9" * 5000 + "}", "number that is too long"),
        ("null", "is empty"),
        ("[1]", "must have one field a line"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_broken_json(tmp_path: Path, content: str, expected: str) -> None:
    assert expected in refused(tmp_path / "c.json", content)


def test_a_day_that_does_not_exist_is_a_problem_of_its_field(tmp_path: Path) -> None:
    content = text_of().replace("'2027-04-12'", "2027-02-30")
    assert refused(tmp_path / "c.yaml", content) == "first day (first_day): “2027-02-30”: the calendar has no such day"


def test_what_yaml_takes_for_a_number_or_a_truth_value_is_explained(tmp_path: Path) -> None:
    content = text_of() + "environment:\n  YEAR: 2027\n  DEBUG: on\n"
    message = refused(tmp_path / "c.yaml", content)
    assert message.count("must be text; put it in quotation marks") == 2


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        load_spec(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        load_spec(tmp_path)


def test_several_problems_are_a_list_under_the_file_s_name(tmp_path: Path) -> None:
    lines = refused(tmp_path / "c.yaml", text_of(seats=0, slug="X")).splitlines()
    assert lines[0] == "2 problems"
    assert lines[1].startswith("  - short name (slug):")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid_and_pass_the_schema(path: Path) -> None:
    spec = load_spec(path)
    assert spec.slug == path.stem
    jsonschema.validate(spec.model_dump(mode="json"), json_schema(), cls=jsonschema.Draft202012Validator)


def test_the_first_example_needs_no_network_beyond_its_image() -> None:
    spec = load_spec(ROOT / "examples/courses/python-intro.yaml")
    assert (spec.leads, spec.participants) == (("teacher",), ("student",))
    assert (spec.git_repositories, spec.shared_volumes, spec.profiles) == ((), (), ())


def test_the_published_schema_is_current() -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema(), "write it anew: make schema"


def test_the_schema_is_valid_and_describes_every_field() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    parts = [schema, *schema["$defs"].values()]
    undescribed = [
        f"{part['title']}.{name}"
        for part in parts
        for name, field in part["properties"].items()
        if "description" not in field
    ]
    assert undescribed == []
    assert all(part["additionalProperties"] is False for part in parts)
    assert schema["$schema"].endswith("2020-12/schema")
    assert schema["properties"]["slug"]["pattern"].startswith("^[a-z]")
