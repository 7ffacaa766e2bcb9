"""The blueprint that Authentik is given: every entry is one that it takes, and every flow has its steps in order."""

from __future__ import annotations

import ast
import builtins
import json
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.platform_stack import blueprints
from tests.platform_stack.blueprints import Blueprint, Find, KeyOf
from tests.platform_stack.conftest import ROOT, sections
from tests.support.pairwise import pairwise

POSITIONS = pairwise(
    {
        "enrolment": ["open", "closed"],
        "verify_email": [True, False],
        "require_mfa": [True, False],
        "terms_url": [None, "https://example.org/terms"],
    }
)
MAIL = {"host": "mail.example.org"}


def made(identity: dict[str, Any] | None = None, sources: Sequence[str] = (), **changes: Any) -> Blueprint:
    """The blueprint of the fewest settings, with these over them, and with entries of the site's."""
    from identity import parameters
    from identity_blueprint import blueprint
    from stack_file import parsed

    config = parsed(sections(**{"mail": MAIL, "identity": identity or {}, **changes}))
    return _read(blueprint(parameters(config, "the-client-secret", "the-api-token"), sources))


# read only by all tests: reading takes longer than most of them
_read = cache(blueprints.read)


@pytest.fixture(scope="module", params=POSITIONS, ids=lambda position: "-".join(map(str, position.values())))
def each(request: pytest.FixtureRequest) -> Blueprint:
    """In every position of the identity section's switches."""
    return made(request.param)


@pytest.fixture(scope="module")
def usual() -> Blueprint:
    return made({"enrolment": "open"})


def test_every_entry_is_one_that_authentik_takes(each: Blueprint) -> None:
    assert len(each.entries) > 80
    assert [problem for entry in each.entries for problem in blueprints.problems(entry, each)] == []


def test_an_entry_that_authentik_does_not_take_is_noticed(usual: Blueprint) -> None:
    flow = usual.named("jhaas-sign-in")
    wrong = [{"designation": "sign-in"}, {"colour": "red"}, {"title": None}]
    for values in wrong:
        entry = blueprints.Entry(flow.model, flow.state, flow.identifiers, {**flow.attrs, **values})
        assert blueprints.problems(entry, usual), values
    assert blueprints.problems(blueprints.Entry("authentik_flows.flows", "present", {}, {}), usual)


SCHEMA = os.environ.get("JHAAS_TEST_AUTHENTIK_SCHEMA")
"""`blueprints/schema.json` of Authentik's sources, in the version that is installed."""


@pytest.mark.skipif(not SCHEMA, reason="JHAAS_TEST_AUTHENTIK_SCHEMA names no blueprints/schema.json of Authentik")
def test_every_entry_is_one_that_authentiks_schema_of_blueprints_knows(each: Blueprint) -> None:
    schema = json.loads(Path(SCHEMA or "").read_text())
    assert [problem for entry in each.entries for problem in blueprints.schema_problems(entry, each, schema)] == []


def test_every_reference_is_to_an_entry_before_it_or_to_something_that_authentik_always_has(each: Blueprint) -> None:
    before: set[str] = set()
    for entry in each.entries:
        for reference in blueprints.references(entry.values):
            if isinstance(reference, KeyOf):
                assert reference.id in before, f"{entry.model}: {reference.id} is not before it"
            elif isinstance(reference, Find):
                # rights are made with the tables, before anything can be applied
                assert reference.model == "auth.permission"
                found = dict(reference.conditions)
                assert blueprints.permission(f"{found['content_type__app_label']}.{found['codename']}")
            else:
                assert reference.path.startswith("/run/jhaas/signing/")
        if entry.id is not None:
            assert entry.id not in before, entry.id
            before.add(entry.id)


def test_no_two_entries_are_about_the_same_object(each: Blueprint) -> None:
    keys = [(entry.model, str(entry.identifiers)) for entry in each.entries]
    assert len(set(keys)) == len(keys)


def test_everything_that_is_made_is_used(usual: Blueprint) -> None:
    used = {
        reference.id
        for entry in usual.entries
        for reference in blueprints.references(entry.values)
        if isinstance(reference, KeyOf)
    }
    reached = {
        # by its address
        "jhaas-second-factor-recovery",
        # by a source of the site's
        "jhaas-source-sign-in",
        "jhaas-source-enrolment",
        "jhaas-source-before",
        # by what people are in, and by the portal's own settings
        "jhaas-governance",
        "jhaas-teachers",
    }
    unused = {entry.id for entry in usual.entries if entry.id} - used
    assert {next(iter(entry.identifiers.values())) for entry in usual.entries if entry.id in unused} <= reached
    kinds = ("stages_", "policies_", "scopemapping")
    assert [e for e in usual.entries if any(kind in e.model for kind in kinds) and e.id not in used] == []


def test_every_parameter_is_asked_for(each: Blueprint) -> None:
    assert each.asked == set(each.context)


def test_what_was_applied_leaves_the_mark_for_which_the_proof_looks() -> None:
    from identity_blueprint import blueprint, proof

    known, other = {**made().context}, {**made({"require_mfa": False}).context}
    del known["mark"], other["mark"]
    assert known != other
    marks = set()
    for given, sources in ((known, []), (other, []), (known, ["# of the site\n"])):
        applied = blueprints.read(blueprint(given, sources))
        (account,) = applied.of("authentik_core.user")
        mark = account.attrs["attributes"]["blueprint"]
        (entry,) = blueprints.read(proof(given, sources)).entries
        # found, it is what the flow is already
        assert entry.attrs["designation"] == applied.named("jhaas-sign-out").attrs["designation"]
        assert [*blueprints.conditions(proof(given, sources))] == [
            Find(account.model, (("username", "jhaas-course-maker"), ("attributes__blueprint", mark)))
        ]
        marks.add(mark)
    assert len(marks) == 3


def test_names_of_the_site_are_text_wherever_they_go() -> None:
    name = "Größe \"1\" & 'co': 100% {{ x }} <b>😀</b> \\ !Env HOME # no"
    blueprint = made(site={**sections()["site"], "name": name})
    assert blueprint.named("login.courses.example.org").attrs["branding_title"] == name
    assert blueprint.named("jhaas-sign-in").attrs["title"] == f"Sign in to {name}"


def test_flows_have_their_steps_in_order(usual: Blueprint) -> None:
    assert {slug: usual.stages(slug) for slug in STEPS} == STEPS
    ours = {entry.identifiers["slug"] for entry in usual.of("authentik_flows.flow")}
    assert {slug for slug in ours if usual.steps(slug)} == set(STEPS)


STEPS = {
    "jhaas-sign-in": ["jhaas-who", "jhaas-password", "jhaas-second-factor", "jhaas-recovery-codes", "jhaas-login"],
    "jhaas-enrolment": [
        "jhaas-enrolment-invitation",
        "jhaas-enrolment-terms",
        "jhaas-enrolment-data",
        "jhaas-enrolment-write",
        "jhaas-known-address-mail",
        "jhaas-known-address-end",
        "jhaas-enrolment-mail",
        "jhaas-write-existing",
        "jhaas-first-second-factor",
        "jhaas-say-codes-follow",
        "jhaas-recovery-codes",
        "jhaas-login",
        "jhaas-to-portal",
    ],
    "jhaas-password-recovery": [
        "jhaas-recovery-who",
        "jhaas-recovery-mail",
        "jhaas-recovery-second-factor",
        "jhaas-ask-new-password",
        "jhaas-write-existing",
        "jhaas-login",
    ],
    "jhaas-second-factor-recovery": [
        "jhaas-recovery-who",
        "jhaas-password",
        "jhaas-second-factor-recovery-mail",
        "jhaas-second-factor-recovery-code",
        "jhaas-totp",
        "jhaas-recovery-codes",
        "jhaas-say-old-devices-gone",
        "jhaas-login",
    ],
    "jhaas-password-change": ["jhaas-password", "jhaas-ask-new-password", "jhaas-write-existing"],
    "jhaas-totp-setup": ["jhaas-password", "jhaas-totp"],
    "jhaas-webauthn-setup": ["jhaas-password", "jhaas-webauthn"],
    "jhaas-recovery-codes-setup": ["jhaas-password", "jhaas-recovery-codes", "jhaas-say-old-codes-gone"],
    "jhaas-sign-out": ["jhaas-logout"],
    "jhaas-source-sign-in": ["jhaas-login"],
    "jhaas-source-enrolment": ["jhaas-enrolment-terms", "jhaas-source-write", "jhaas-login"],
}


def test_a_step_has_at_most_one_policy_and_asks_it_when_it_is_reached(each: Blueprint) -> None:
    # policies that write into the plan are one each: several of one step may be asked in processes of their own
    for step in each.of("authentik_flows.flowstagebinding"):
        policies = each.policies(step)
        assert len(policies) <= 1
        asked_when_reached = (step.attrs.get("evaluate_on_plan"), step.attrs.get("re_evaluate_policies"))
        assert asked_when_reached == ((False, True) if policies else (None, None))


def test_expressions_are_python_that_knows_all_its_names(each: Blueprint) -> None:
    found = [entry.attrs["expression"] for entry in each.entries if "expression" in entry.attrs]
    assert len(found) > 10
    for expression in found:
        tree = ast.parse(blueprints.body(expression))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        known = stored | imported | blueprints.NAMES | {"request", "context"} | set(dir(builtins))
        assert names <= known, names - known
        returns = [node for node in ast.walk(tree) if isinstance(node, ast.Return)]
        assert returns
        assert all(node.value is not None for node in returns)


def test_nobody_signs_in_by_authentiks_own_flow(each: Blueprint) -> None:
    ((binding, policy),) = each.policies(each.named("default-authentication-flow"))
    assert blueprints.evaluate(policy.attrs["expression"]) is False
    assert not binding.attrs.get("negate")
    assert binding.attrs["failure_result"] is False
    brand = each.named("login.courses.example.org")
    assert each.by_id(brand.attrs["flow_authentication"]).identifiers["slug"] == "jhaas-sign-in"


def test_a_second_factor_is_asked_for_and_set_up_where_the_site_wants_it() -> None:
    for required, action in ((True, "configure"), (False, "skip")):
        blueprint = made({"require_mfa": required})
        for name in ("jhaas-second-factor", "jhaas-first-second-factor"):
            assert blueprint.named(name).attrs["not_configured_action"] == action
    kinds = [
        one.identifiers["name"] for one in map(blueprint.by_id, blueprint.named(name).attrs["configuration_stages"])
    ]
    assert kinds == ["jhaas-totp", "jhaas-webauthn"]


def test_where_sign_up_is_closed_only_an_invitation_opens_it() -> None:
    for enrolment in ("open", "closed"):
        blueprint = made({"enrolment": enrolment})
        is_open = enrolment == "open"
        invitation = blueprint.named("jhaas-enrolment-invitation")
        assert blueprint.stages("jhaas-enrolment")[0] == "jhaas-enrolment-invitation"
        assert invitation.attrs["continue_flow_without_invitation"] is is_open
        assert (blueprint.named("jhaas-who").attrs["enrollment_flow"] is not None) is is_open


def test_without_a_mail_server_no_page_offers_a_mail() -> None:
    for mail, offered in ((MAIL, True), ({}, False)):
        blueprint = made(mail=mail)
        assert (blueprint.named("jhaas-who").attrs["recovery_flow"] is not None) is offered
        assert (blueprint.named("login.courses.example.org").attrs["flow_recovery"] is not None) is offered


def test_terms_are_shown_and_must_be_accepted() -> None:
    from identity_blueprint import TERMS

    assert made().named("jhaas-terms-text").attrs["initial_value"] == TERMS
    blueprint = made({"terms_url": "https://example.org/terms"})
    assert 'href="https://example.org/terms"' in blueprint.named("jhaas-terms-text").attrs["initial_value"]
    accepts = blueprint.named("jhaas-accepts-terms").attrs["expression"]
    said: list[str] = []
    for given, accepted in ((True, True), (False, False), (None, False)):
        context = {"prompt_data": {"terms_accepted": given}}
        assert blueprints.evaluate(accepts, context=context, ak_message=said.append) is accepted
    assert len(said) == 2


def test_templates_of_mails_are_the_files_that_stages_name(usual: Blueprint) -> None:
    from identity_blueprint import mails

    files = mails("Courses {% x %}", "help@example.org", "https://courses.example.org", "https://login.example.org")
    named = {stage.attrs["template"] for stage in usual.of("authentik_stages_email.emailstage")}
    assert named == set(files)
    for text in files.values():
        assert "[[" not in text
        assert "{% x" not in text
        assert text.count("{% block content %}") == text.count("{% endblock %}") == 1


def taken(source: str) -> list[blueprints.Entry]:
    """The entries of a site's source, each one that Authentik takes in our blueprint."""
    secrets = {"university_client_secret": "a", "university_bind_password": "b"}
    named = {name: value for name, value in secrets.items() if name in source}
    blueprint, ours = made({"source_secrets": named}, [source]), made()
    own = blueprint.entries[len(ours.entries) :]
    ids = {entry.id for entry in blueprint.entries}
    for entry in own:
        assert {one.id for one in blueprints.references(entry.values) if isinstance(one, KeyOf)} <= ids
        # an entry about one of ours says only what it adds
        below = [one for one in ours.entries if (one.model, one.identifiers) == (entry.model, entry.identifiers)]
        attrs = {**(below[0].attrs if below else {}), **entry.attrs}
        whole = blueprints.Entry(entry.model, "present", entry.identifiers, attrs)
        assert blueprints.problems(whole, blueprint) == []
    assert blueprint.asked == set(blueprint.context)
    return own


@pytest.mark.parametrize("example", sorted((ROOT / "examples/identity").glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_of_sources_are_ones_that_authentik_takes(example: Path) -> None:
    assert taken(example.read_text())


def test_entries_that_the_guide_shows_are_ones_that_authentik_takes() -> None:
    shown = re.findall(r"```yaml\n(- model: .+?)```", (ROOT / "docs/identity.md").read_text(), re.DOTALL)
    assert [entry.model for source in shown for entry in taken(source)] == [
        "authentik_flows.flowstagebinding",
        "authentik_brands.brand",
    ]


def test_sections_that_the_guide_shows_can_be_used() -> None:
    from stack_file import PROJECT, parsed

    shown = re.findall(r"```yaml\n(config:.+?)```", (ROOT / "docs/identity.md").read_text(), re.DOTALL)
    for text in shown:
        (given,) = yaml.safe_load(text.replace("secure: …", "hidden")).values()
        identity = given[f"{PROJECT}:identity"]
        assert parsed(sections(identity=identity)).identity.kind == identity.get("kind", "authentik")
    assert len(shown) == 2
