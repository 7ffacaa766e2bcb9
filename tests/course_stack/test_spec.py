"""CourseSpec: every bound, each refused in a sentence that names the field; and what survives a round trip."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from course_stack.names import CourseNames
from course_stack.spec import CourseSpec, SpecError, load_spec, request_problems
from course_stack.spec.fields import RESERVED_SLUGS
from tests.course_stack.specs import course, problems, specs

RESOURCES = {"memory_guarantee": 0.5, "memory_limit": 1, "cpu_guarantee": 0.1, "cpu_limit": 1}
VOLUME = {"name": "share", "kind": "share", "mount_path": "/mnt/share", "size": 1}


def refused(path: str, **changes: Any) -> str:
    """The message at this path; nothing else may be wrong."""
    found = problems(**changes)
    assert list(found) == [path]
    return found[path]


# --- round trip and revision


@given(spec=specs())
def test_a_spec_survives_json_unchanged(spec: CourseSpec) -> None:
    again = CourseSpec.model_validate(json.loads(json.dumps(spec.model_dump(mode="json"))))
    assert again == spec
    assert again.digest() == spec.digest()


@given(one=specs(), other=specs())
def test_the_revision_tells_specs_apart(one: CourseSpec, other: CourseSpec) -> None:
    assert (one.digest() == other.digest()) is (one == other)


def test_the_revision_is_the_same_in_every_release() -> None:
    # A change here makes every running course look changed: bump it only together with a migration.
    assert load_spec(course()).digest() == "f595c4856b7a8e3a01f7f63e863642fbe9558677603cb58646e441f820ca354e"


def test_the_order_of_people_is_no_change() -> None:
    one = load_spec(course(leads=["b", "a"], participants=["z", "y"]))
    other = load_spec(course(leads=["a", "b"], participants=["y", "z"]))
    assert one == other
    assert one.digest() == other.digest()


def test_a_spec_cannot_be_changed() -> None:
    spec = load_spec(course())
    with pytest.raises(ValidationError, match="frozen"):
        spec.seats = 5  # type: ignore[misc]


def test_pydantic_s_own_text_does_not_repeat_inputs() -> None:
    with pytest.raises(ValidationError) as caught:
        CourseSpec.model_validate(course(git_repositories=[{"url": "https://ann:topsecret@git.example.org/x"}]))
    assert "topsecret" not in str(caught.value)


# --- slug


@pytest.mark.parametrize("slug", ["abc", "python-intro", "ws26-bio-1", "a" * 40])
def test_good_slugs(slug: str) -> None:
    names = CourseNames(load_spec(course(slug=slug)).slug)
    assert len(names.bucket) <= 63
    assert len(names.lead_group) <= 63


@pytest.mark.parametrize(
    "slug",
    [
        "ab", "a" * 41, "", "Python", "python_intro", "-abc", "abc-", "1abc", "../Foo Bar", "a.b", "ünter", "abc\n",
        "xn--abc", "a--b", "abc ", "\u0663abc", "\uff41bc", "abc-leads", "abc-s3alias",
    ],
)  # fmt: skip
def test_bad_slugs(slug: str) -> None:
    assert refused("slug", slug=slug)


@pytest.mark.parametrize("slug", ["portal", "auth", "api", "www", "admin", "hub", "jhaas", "state"])
def test_slugs_of_the_platform_are_reserved(slug: str) -> None:
    assert "reserved" in refused("slug", slug=slug)


def test_reserved_slugs_are_lower_case_words() -> None:
    assert {slug for slug in RESERVED_SLUGS if slug != slug.lower() or not slug.isascii()} == set()
    assert "id" in RESERVED_SLUGS


def test_no_course_has_the_groups_of_another() -> None:
    assert CourseNames("python").lead_group == CourseNames("python-leads").group
    assert "-leads" in refused("slug", slug="python-leads")


# --- numbers


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"seats": 0}, "seats"),
        ({"seats": -1}, "seats"),
        ({"seats": 1_000_000}, "seats"),
        ({"seats": 2.5}, "seats"),
        ({"seats": True}, "seats"),
        ({"seats": "many"}, "seats"),
        ({"seats": 10**5000}, "seats"),
        ({"home_size": 0}, "home_size"),
        ({"home_size": 9000}, "home_size"),
        ({"home_size": float("nan")}, "home_size"),
        ({"home_size": float("inf")}, "home_size"),
        ({"home_size": "nan"}, "home_size"),
        ({"home_size": "1,5"}, "home_size"),
        ({"resources": {**RESOURCES, "memory_limit": 512}}, "resources.memory_limit"),
        ({"resources": {**RESOURCES, "memory_guarantee": 0}}, "resources.memory_guarantee"),
        ({"resources": {**RESOURCES, "cpu_limit": 33}}, "resources.cpu_limit"),
        ({"resources": {**RESOURCES, "cpu_guarantee": 0.001}}, "resources.cpu_guarantee"),
        ({"culling": {"idle_minutes": 1}}, "culling.idle_minutes"),
        ({"culling": {"idle_minutes": 100_000}}, "culling.idle_minutes"),
        ({"culling": {"max_age_hours": 0}}, "culling.max_age_hours"),
        ({"spawning": {"active_servers": 0}}, "spawning.active_servers"),
        ({"spawning": {"concurrent": 0}}, "spawning.concurrent"),
        ({"profiles": [{"name": "GPU", "gpu": {"count": 0}}]}, "profiles[0].gpu.count"),
        ({"shared_volumes": [{**VOLUME, "size": 0}]}, "shared_volumes[0].size"),
    ],
)
def test_numbers_out_of_bounds(changes: dict[str, Any], path: str) -> None:
    assert refused(path, **changes)


def test_a_number_may_come_as_text_from_a_form_or_a_table() -> None:
    spec = load_spec(course(seats="30", home_size="1.5"))
    assert (spec.seats, spec.home_size) == (30, 1.5)


@pytest.mark.parametrize("what", ["memory", "cpu"])
def test_a_guarantee_above_its_limit_is_refused_everywhere(what: str) -> None:
    bad = {**RESOURCES, f"{what}_guarantee": 0.9, f"{what}_limit": 0.3}
    assert "guarantee of 0.9" in refused(f"resources.{what}_limit", resources=bad)
    assert refused(f"profiles[0].resources.{what}_limit", profiles=[{"name": "x", "resources": bad}])


def test_running_notebooks_are_never_unlimited() -> None:
    assert load_spec(course(seats=1)).active_servers == 2
    assert load_spec(course(seats=20, spawning={"active_servers": 7})).active_servers == 7
    assert load_spec(course(seats=3, spawning={"active_servers": 900})).active_servers == 4


def test_maximum_age_before_idle_time_is_refused() -> None:
    assert refused("culling.max_age_hours", culling={"idle_minutes": 120, "max_age_hours": 1})


# --- days


@pytest.mark.parametrize(
    "day", ["2027-02-30", "12.04.2027", "20270412", 20270412, 0, "", "2027-04-12T10:00", True, "tomorrow"]
)
def test_what_is_no_day(day: object) -> None:
    assert refused("first_day", first_day=day)


def test_a_clock_time_is_no_day() -> None:
    assert refused("first_day", first_day=dt.datetime(2027, 4, 12, tzinfo=dt.UTC))


def test_the_end_before_the_start_is_refused() -> None:
    assert "before the first day" in refused("last_day", first_day="2027-04-12", last_day="2027-04-11")


def test_one_day_is_a_course_and_a_year_is_the_longest() -> None:
    assert problems(first_day="2027-01-01", last_day="2027-01-01") == {}
    assert problems(first_day="2027-01-01", last_day="2028-01-01") == {}
    assert "367 days" in refused("last_day", first_day="2027-01-01", last_day="2028-01-02")


@pytest.mark.parametrize(
    ("today", "fields"),
    [
        ("2027-04-12", []),
        ("2027-04-13", ["first_day"]),
        ("2027-07-16", ["first_day"]),
        ("2027-07-17", ["last_day"]),
        ("2025-04-09", ["first_day"]),
        ("2025-04-10", []),
    ],
)
def test_a_new_request_lies_neither_in_the_past_nor_too_far_ahead(today: str, fields: list[str]) -> None:
    found = request_problems(load_spec(course()), dt.date.fromisoformat(today))
    assert [problem.field for problem in found] == fields


# --- people


def test_each_person_once_and_never_on_both_sides() -> None:
    assert "twice" in refused("leads", leads=["ann", "ann"])
    assert "twice" in refused("participants", participants=["bob", "Bob"])
    assert "lead already" in refused("participants", leads=["ann"], participants=["Ann"])


def test_a_course_has_a_lead() -> None:
    assert refused("leads", leads=[])


def test_more_participants_than_seats_are_refused() -> None:
    assert problems(seats=2, participants=["a", "b"]) == {}
    assert (
        refused("participants", seats=1, participants=["a", "b"])
        == "2 are named, more than the number of participants (seats), 1"
    )


@pytest.mark.parametrize("subject", ["", " ", "a b", "../x", "a/b", "x" * 129, "né", "a\n", "-x", "."])
def test_what_is_no_subject(subject: str) -> None:
    assert refused("leads[0]", leads=[subject])


@pytest.mark.parametrize(
    "subject", ["teacher", "3f9c8f0e-3b1c-4f5e-9d2a-1f2e3d4c5b6a", "auth0|5f7c", "ann@example.org", "_x"]
)
def test_subjects_of_common_identity_providers(subject: str) -> None:
    assert problems(leads=[subject]) == {}


# --- environment


@pytest.mark.parametrize(
    "name",
    ["JUPYTERHUB_API_URL", "jupyterhub_x", "JPY_API_TOKEN", "MEM_LIMIT", "HOME", "PATH", "LD_PRELOAD", "JHAAS_X",
     "1A", "A B", "A=B", "", "Ä"],
)  # fmt: skip
def test_variables_that_no_course_may_set(name: str) -> None:
    assert refused(f"environment.{name}", environment={name: "x"})


def test_values_of_variables_are_text() -> None:
    assert "quotation marks" in refused("environment.YEAR", environment={"YEAR": 2027})
    assert refused("environment.X", environment={"X": "a\0b"})
    assert problems(environment={"GREETING": "Grüße {username}\n$HOME"}) == {}


def test_variables_must_fit_together() -> None:
    assert "characters long" in refused("environment", environment={f"X{n}": "y" * 4000 for n in range(9)})


# --- git


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("git@github.com:a/b.git", "ssh"),
        ("ssh://git@github.com/a/b", "ssh"),
        ("http://github.com/a/b", "https://"),
        ("git://github.com/a/b", "https://"),
        ("file:///etc", "https://"),
        ("/srv/repo", "https://"),
        ("https://ann:topsecret@github.com/a/b", "password"),
        ("https://topsecret@github.com/a/b", "password"),
        ("https:///a/b", "host"),
        ("https://-x/a", "host"),
        ("https://github.com", "path"),
        ("https://github.com/", "path"),
        ("https://github.com/a/../b", "path"),
        ("https://github.com/a b", "path"),
        ("https://github.com/a?ref=x", "without ?"),
        ("https://github.com/a#x", "without ?"),
        ("https://github.com:99999/a", "https://"),
        ("https://[::1/a", "https://"),
        ("--upload-pack=x", "https://"),
    ],
)
def test_repositories_that_are_refused(url: str, word: str) -> None:
    message = refused("git_repositories[0].url", git_repositories=[{"url": url}])
    assert word in message
    assert "topsecret" not in message


def test_a_repository_s_folder() -> None:
    spec = load_spec(
        course(
            git_repositories=[
                {"url": "https://github.com/a/b.git"},
                {"url": "HTTPS://Git.Example.org:8443/x/C/", "branch": "v1.0", "folder": "Woche 1/Übung"},
            ]
        )
    )
    assert [repository.target for repository in spec.git_repositories] == ["b", "Woche 1/Übung"]
    assert spec.git_repositories[1].url == "https://git.example.org:8443/x/C"


@pytest.mark.parametrize(
    "folder", ["/etc", "~/x", "../x", "a/../../b", ".ssh", "a/.git", "a//b", "", "-x", "a\nb", "a\\b", "$(id)"]
)
def test_folders_outside_home_or_hidden(folder: str) -> None:
    assert refused("git_repositories[0].folder", git_repositories=[{"url": "https://github.com/a/b", "folder": folder}])


def test_a_repository_whose_name_is_no_folder_needs_one() -> None:
    assert "needed" in refused("git_repositories[0].folder", git_repositories=[{"url": "https://github.com/a/.github"}])
    assert problems(git_repositories=[{"url": "https://github.com/a/.github", "folder": "x"}]) == {}


@pytest.mark.parametrize("branch", ["", "-x", "a..b", "a b", "a~1", "x.lock", "/a", "a/", "a//b", "a/.b", "@{", "a:b"])
def test_what_is_no_branch(branch: str) -> None:
    assert refused("git_repositories[0].branch", git_repositories=[{"url": "https://github.com/a/b", "branch": branch}])


@pytest.mark.parametrize(("one", "other"), [("x", "x"), ("x", "x/y"), ("x/y", "x")])
def test_repositories_in_each_other_s_way(one: str, other: str) -> None:
    between = {"url": "https://github.com/a/z", "folder": "x-1"}
    assert refused(
        "git_repositories",
        git_repositories=[{"url": "https://github.com/a/b", "folder": folder} for folder in (one, other)] + [between],
    )


# --- shared volumes


@pytest.mark.parametrize(
    "path",
    ["/", "", "data", "/home", "/home/jovyan", "/home/jovyan/material", "/etc/x", "/opt/conda", "/usr/local", "/tmp",
     "/dev/shm", "/mnt/../etc", "/mnt//x", "/mnt/./x", "/mnt/a b", "/mnt/a:b", "/mnt/{username}", "//etc", "/root/"],
)  # fmt: skip
def test_mount_paths_over_home_or_system(path: str) -> None:
    assert refused("shared_volumes[0].mount_path", shared_volumes=[{**VOLUME, "mount_path": path}])


def test_mount_paths_as_others_use_them() -> None:
    volumes = [
        {**VOLUME, "name": f"v{n}", "mount_path": path} for n, path in enumerate(["/data", "/share/", "/mnt/materials"])
    ]
    spec = load_spec(course(shared_volumes=volumes))
    assert [volume.mount_path for volume in spec.shared_volumes] == ["/data", "/share", "/mnt/materials"]


@pytest.mark.parametrize(("one", "other"), [("/data", "/data/"), ("/data", "/data/x")])
def test_mount_paths_in_each_other_s_way(one: str, other: str) -> None:
    volumes = [{**VOLUME, "name": "a", "mount_path": one}, {**VOLUME, "name": "b", "mount_path": other}]
    assert refused("shared_volumes", shared_volumes=volumes)


def test_volumes_have_names_of_their_own() -> None:
    assert refused("shared_volumes", shared_volumes=[VOLUME, {**VOLUME, "mount_path": "/data"}])
    assert refused("shared_volumes[0].name", shared_volumes=[{**VOLUME, "name": "My Data"}])
    assert "material" in refused("shared_volumes[0].kind", shared_volumes=[{**VOLUME, "kind": "readonly"}])


# --- profiles


def test_the_marked_profile_is_the_default_or_else_the_first() -> None:
    assert load_spec(course()).default_profile is None
    for marked, expected in [((False, False), "A"), ((False, True), "B"), ((True, False), "A")]:
        profiles = [{"name": name, "default": mark} for name, mark in zip("AB", marked, strict=True)]
        chosen = load_spec(course(profiles=profiles)).default_profile
        assert chosen is not None
        assert chosen.name == expected
    assert "more than one" in refused(
        "profiles", profiles=[{"name": "A", "default": True}, {"name": "B", "default": True}]
    )


@pytest.mark.parametrize(
    ("one", "other"), [("A", "A"), ("GPU large", "gpu-large"), ("Größe", "Grosse"), ("Été", "ete")]
)
def test_profiles_that_are_named_too_much_alike(one: str, other: str) -> None:
    assert refused("profiles", profiles=[{"name": one}, {"name": other}])


def test_a_profile_needs_a_name_with_a_letter_or_digit() -> None:
    assert refused("profiles", profiles=[{"name": "★"}])
    assert refused("profiles[0].name", profiles=[{"name": "  "}])
    assert load_spec(course(profiles=[{"name": "Ein GPU, groß!"}])).profiles[0].key == "ein-gpu-gross"


def test_a_toleration_is_one_that_kubernetes_takes() -> None:
    def with_toleration(**toleration: str) -> list[dict[str, Any]]:
        return [{"name": "GPU", "gpu": {"count": 1, "toleration": toleration}}]

    path = "profiles[0].gpu.toleration"
    assert problems(profiles=with_toleration(key="example.org/gpu", operator="Equal", value="a100")) == {}
    assert "Equal" in refused(f"{path}.value", profiles=with_toleration(value="x"))
    assert refused(f"{path}.key", profiles=with_toleration(key="not a key"))
    assert refused(f"{path}.value", profiles=with_toleration(operator="Equal", value="-"))
    assert refused(f"{path}.effect", profiles=with_toleration(effect="Sometimes"))


# --- texts, start page, commands


@pytest.mark.parametrize("title", ["", "   ", "a\nb", "a\0", "a\u202eb", "x" * 101, 2026, None, b"x"])
def test_titles_are_one_plain_line(title: object) -> None:
    assert refused("title", title=title)


def test_texts_are_trimmed_and_composed() -> None:
    spec = load_spec(course(title="  U\u0308bung ", description="one\r\ntwo\n"))
    assert (spec.title, spec.description) == ("Übung", "one\ntwo")


@pytest.mark.parametrize(
    "page", ["lab", "", "//evil.example", "https://evil.example", "/a/../b", "/lab/{username}", "/a b", "/\\evil"]
)
def test_start_pages_stay_on_the_notebook_server(page: str) -> None:
    assert refused("default_url", default_url=page)


@pytest.mark.parametrize("page", ["/lab", "/lab/tree/Woche%201/intro.ipynb", "/rstudio/", "/lab?reset"])
def test_good_start_pages(page: str) -> None:
    assert problems(default_url=page) == {}


def test_start_commands() -> None:
    assert problems(start_commands=["mkdir -p ~/x", "if true; then\n\techo hi\nfi"]) == {}
    assert refused("start_commands[1]", start_commands=["true", " "])
    assert refused("start_commands", start_commands=["true"] * 21)
    assert "list" in refused("start_commands", start_commands="true")


# --- how problems read


def test_everything_wrong_is_told_at_once() -> None:
    found = problems(slug="X", seats=0, resources={**RESOURCES, "memory_limit": 512}, image="x", leads=[])
    assert set(found) == {"slug", "seats", "resources.memory_limit", "image", "leads"}


def test_a_problem_names_field_and_bound() -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(course(resources={**RESOURCES, "memory_limit": 512}))
    assert str(caught.value) == "memory per person, limit (resources.memory_limit): 512 is too much; at most 64 GiB"
    (problem,) = caught.value.problems
    assert (problem.field, problem.message) == ("resources.memory_limit", "512 is too much; at most 64 GiB")
    assert problem.text == "{input} is too much; at most {le}{unit}"


def test_a_problem_in_a_list_tells_which_entry() -> None:
    with pytest.raises(SpecError, match=r"^profiles, entry 2, image \(profiles\[1\]\.image\): the tag latest"):
        load_spec(course(profiles=[{"name": "A"}, {"name": "B", "image": "x:latest"}]))


def test_unknown_fields_name_the_nearest_known_one() -> None:
    assert refused("recources", recources={}) == "is unknown here; did you mean resources?"
    assert "did you mean memory_limit?" in refused("resources.memory_limt", resources={**RESOURCES, "memory_limt": 1})
    assert "known are url, branch, folder" in refused(
        "git_repositories[0].xyz", git_repositories=[{"url": "https://github.com/a/b", "xyz": 1}]
    )


def test_missing_fields_are_named() -> None:
    with pytest.raises(SpecError) as caught:
        load_spec({})
    assert {problem.field for problem in caught.value.problems} == {
        "slug", "title", "first_day", "last_day", "seats", "image", "leads",
    }  # fmt: skip


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@given(field=st.sampled_from(sorted(CourseSpec.model_fields)), value=ANYTHING)
@example(field="environment", value={5: "x"})
@example(field="slug", value="\ud800")
@example(field="title", value="{0} {input}")
@example(field="resources", value={"memory_limit": "{le}"})
def test_whatever_is_typed_gives_a_spec_or_readable_problems(field: str, value: object) -> None:
    try:
        spec = load_spec(course(**{field: value}))
    except SpecError as error:
        assert error.problems
        assert all(problem.message and problem.field.startswith(field) for problem in error.problems)
        assert len(str(error)) < 2000
    else:
        assert CourseSpec.model_validate(spec.model_dump(mode="json")) == spec
