"""What people meet at Authentik: flows are walked step by step, with the expressions that decide about each step."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.platform_stack import blueprints
from tests.platform_stack.blueprints import Blueprint, Entry
from tests.platform_stack.conftest import ROOT, sections
from tests.platform_stack.test_identity_blueprint import made

PORTAL = "https://courses.example.org"
ADDRESS = "ann@example.org"


class Device:
    """A second factor."""

    def __init__(self, owner: Person, number: int) -> None:
        self.owner = owner
        self.persistent_id = f"{type(self).__name__}/{number}"

    def delete(self) -> None:
        self.owner.devices.remove(self)


class TOTPDevice(Device):
    """An authenticator app."""


class StaticDevice(Device):
    """Recovery codes."""


@dataclass(eq=False)
class Person:
    """An account."""

    site: Site
    username: str
    email: str
    name: str = ""
    is_active: bool = True
    attributes: dict[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    has_password: bool = True
    devices: list[Device] = field(default_factory=list)

    def delete(self) -> None:
        self.site.people.remove(self)

    def has_usable_password(self) -> bool:
        return self.has_password

    def all_groups(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name) for name in self.groups]

    def get(self, kind: type[Device]) -> Device:
        device = kind(self, next(self.site.numbers))
        self.devices.append(device)
        return device


@dataclass
class Site:
    """Authentik with a blueprint, as far as expressions see it."""

    blueprint: Blueprint
    people: list[Person] = field(default_factory=list)
    mails: list[tuple[str, str]] = field(default_factory=list)
    """(name of the stage, address)."""
    said: list[str] = field(default_factory=list)
    from_source: bool = False
    """Whether the browser comes from a source's sign-in."""
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 1000)))

    def add(self, email: str = ADDRESS, **values: Any) -> Person:
        person = Person(self, email, email, **values)
        self.people.append(person)
        return person

    def user_by(self, **wanted: str) -> Person | None:
        fields = {key.removesuffix("__iexact"): value.lower() for key, value in wanted.items()}
        found = [one for one in self.people if all(getattr(one, k).lower() == v for k, v in fields.items())]
        return found[0] if found else None

    def ask(self, policy: Entry, plan: dict[str, Any], user: Person | None = None, **more: Any) -> Any:
        context = {**plan, "flow_plan": SimpleNamespace(context=plan), **more}
        return blueprints.evaluate(
            policy.attrs["expression"],
            SimpleNamespace(user=user),
            context,
            ak_client_ip="192.0.2.7",
            ak_is_sso_flow=self.from_source,
            ak_message=self.said.append,
            ak_user_by=self.user_by,
            ak_user_has_authenticator=lambda person, kind=None: any(
                kind is None or type(device).__name__.lower() == f"{kind}device" for device in person.devices
            ),
        )

    def walk(self, slug: str, plan: dict[str, Any], user: Person | None = None) -> Iterator[Entry]:
        """The stages that somebody meets, each when its turn has come; what it does is up to the caller."""
        for step in self.blueprint.steps(slug):
            stage = self.blueprint.by_id(step.values["stage"])
            if all(self.passes(binding, policy, plan, user) for binding, policy in self.blueprint.policies(step)):
                yield stage

    def passes(self, binding: Entry, policy: Entry, plan: dict[str, Any], user: Person | None) -> bool:
        try:
            return bool(self.ask(policy, plan, user))
        except (KeyError, AttributeError):
            return bool(binding.attrs.get("failure_result", False))


def site(identity: dict[str, Any] | None = None) -> Site:
    return Site(made({"enrolment": "open", **(identity or {})}))


@pytest.fixture(autouse=True)
def inside_authentik(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The modules that expressions import. Answers what is in the cache."""
    cached: dict[str, Any] = {}

    def module(name: str, **values: Any) -> None:
        made = ModuleType(name)
        vars(made).update(values)
        monkeypatch.setitem(sys.modules, name, made)

    for package in ("authentik", "authentik.stages", "django", "django.core", "django.utils"):
        module(package)
    module("authentik.stages.authenticator", devices_for_user=lambda person: iter(list(person.devices)))
    module("django.utils.timezone", now=lambda: datetime(2026, 11, 22, tzinfo=UTC))
    cache = SimpleNamespace(get=cached.get, set=lambda key, value, _seconds: cached.update({key: value}))
    module("django.core.cache", cache=cache)
    return cached


def write(person: Person, data: dict[str, Any]) -> None:
    """What Authentik's stage that writes accounts makes of the answers."""
    for key, value in data.items():
        if key.startswith("attributes."):
            # it takes an underscore for a dot
            assert "_" not in key
            person.attributes[key.removeprefix("attributes.")] = value
        elif key in ("username", "email", "name"):
            setattr(person, key, value)


def enrol(at: Site, address: str = ADDRESS, *, stop_at: str | None = None) -> list[str]:
    """Somebody makes an account, and follows the link of the mail that says so. Names of the stages that were met."""
    plan: dict[str, Any] = {}
    met: list[str] = []
    for stage in at.walk("jhaas-enrolment", plan):
        name = stage.identifiers["name"]
        met.append(name)
        if name == stop_at:
            return met
        match stage.model.rpartition(".")[2]:
            case "promptstage" if name == "jhaas-enrolment-data":
                plan["prompt_data"] = {"email": address, "name": "Ann", "password": "a good long password"}
            case "userwritestage" if stage.attrs["user_creation_mode"] == "always_create":
                person = plan["pending_user"] = at.add("")
                person.is_active = not stage.attrs["create_users_as_inactive"]
                write(person, plan["prompt_data"])
            case "userwritestage":
                write(plan["pending_user"], plan["prompt_data"])
            case "emailstage":
                at.mails.append((name, plan["pending_user"].email))
                if name == "jhaas-known-address-mail":
                    # that mail has no link by which the flow would go on
                    return met
                if stage.attrs["activate_user_on_success"]:
                    plan["pending_user"].is_active = True
            case "authenticatorvalidatestage":
                plan["pending_user"].get(TOTPDevice)
            case "authenticatorstaticstage":
                plan["pending_user"].get(StaticDevice)
            case "denystage":
                return met
    return met


# --- enrolment


def test_a_new_account_is_proven_secured_and_led_to_the_portal() -> None:
    at = site()
    met = enrol(at, " Ann@Example.org ")
    assert [name for name in met if "known" not in name] == met
    assert met[-2:] == ["jhaas-login", "jhaas-to-portal"]
    (person,) = at.people
    assert (person.username, person.email, person.is_active) == (ADDRESS, ADDRESS, True)
    assert person.attributes["enrolment"] == "done"
    assert person.attributes["terms"] == {"read": "built-in", "accepted": "2026-11-22"}
    assert {type(device) for device in person.devices} == {TOTPDevice, StaticDevice}
    assert at.mails == [("jhaas-enrolment-mail", ADDRESS)]


def test_an_account_is_not_active_before_its_address_is_proven() -> None:
    at = site()
    enrol(at, stop_at="jhaas-enrolment-mail")
    (person,) = at.people
    assert not person.is_active
    assert person.attributes["enrolment"] == "pending"


def test_an_account_that_was_never_proven_gives_way_to_a_new_try() -> None:
    at = site()
    enrol(at, stop_at="jhaas-enrolment-mail")
    assert "jhaas-login" in enrol(at)
    (person,) = at.people
    assert person.is_active


@pytest.mark.parametrize("verify", [True, False])
def test_a_deactivated_account_stays_deactivated_whatever_its_owner_tries(verify: bool) -> None:
    at = site({"verify_email": verify})
    enrol(at)
    (person,) = at.people
    person.is_active = False
    met = enrol(at)
    assert at.people == [person]
    assert not person.is_active
    assert "jhaas-login" not in met
    # no mail makes an account active but the one to an account that was made a moment ago, in the same flow
    activating = [
        stage.identifiers["name"]
        for stage in at.blueprint.of("authentik_stages_email.emailstage")
        if stage.attrs["activate_user_on_success"] is not False
    ]
    assert activating == ["jhaas-enrolment-mail"]
    flows = [flow.identifiers["slug"] for flow in at.blueprint.of("authentik_flows.flow")]
    assert [slug for slug in flows if activating[0] in at.blueprint.stages(slug)] == ["jhaas-enrolment"]


def test_sign_up_does_not_tell_which_addresses_have_an_account() -> None:
    at = site()
    at.add()
    known, new = enrol(at), enrol(at, "new@example.org")
    seen = {
        # both are shown as the page that says that a mail was sent
        "jhaas-known-address-mail": "mail",
        "jhaas-enrolment-mail": "mail",
        # this one is not shown
        "jhaas-enrolment-write": None,
    }
    pages = [[page for page in (seen.get(name, name) for name in met) if page] for met in (known, new)]
    assert pages[0] == pages[1][: len(pages[0])]
    assert pages[0][-1] == "mail"
    kinds = {at.blueprint.named(name).model for name in ("jhaas-known-address-mail", "jhaas-enrolment-mail")}
    assert len(kinds) == 1
    # a field of this type says that a name is taken
    assert not [one for one in at.blueprint.of("authentik_stages_prompt.prompt") if one.attrs["type"] == "username"]


def test_the_owner_of_a_known_address_gets_a_mail_that_signs_nobody_in() -> None:
    at = site()
    owner = at.add("Ann@Example.org")
    enrol(at, ADDRESS)
    assert at.people == [owner]
    assert at.mails == [("jhaas-known-address-mail", "Ann@Example.org")]
    template = at.blueprint.named("jhaas-known-address-mail").attrs["template"]
    assert "url }}" not in (ROOT / "platform/mails" / template).read_text()
    # and whoever came past that page all the same is let no further
    following = at.blueprint.stages("jhaas-enrolment")
    assert following[following.index("jhaas-known-address-mail") + 1] == "jhaas-known-address-end"


def test_without_a_look_at_the_address_nobody_gets_on() -> None:
    at = site()
    binding = at.blueprint.steps("jhaas-enrolment")[5]
    assert at.blueprint.by_id(binding.values["stage"]).model.endswith("denystage")
    ((policy_binding, policy),) = at.blueprint.policies(binding)
    assert at.passes(policy_binding, policy, {}, None)


def test_sign_up_has_a_limit_for_each_address_and_each_network(inside_authentik: dict[str, Any]) -> None:
    at = site()
    limit = at.blueprint.named("jhaas-not-too-many")
    stage = at.blueprint.named("jhaas-enrolment-data")
    assert limit.id in {one.id for one in map(at.blueprint.by_id, stage.attrs["validation_policies"])}

    def ask(address: str) -> bool:
        return bool(at.ask(limit, {}, prompt_data={"email": address}))

    assert [ask(ADDRESS) for _ in range(6)] == [True] * 5 + [False]
    # the same whether the address has an account
    at.add("bob@example.org")
    assert [ask("bob@example.org") for _ in range(6)] == [True] * 5 + [False]
    assert all(ask(f"{number}@example.org") for number in range(288))
    assert not ask("one-too-many@example.org")
    assert ADDRESS not in str(inside_authentik)


def test_no_name_server_decides_who_may_sign_up() -> None:
    for entry in site().blueprint.entries:
        expression = entry.attrs.get("expression", "")
        assert not re.search(r"dns|socket|requests|smtp|except", expression)


def test_without_proof_of_addresses_no_address_counts_as_proven() -> None:
    at = site({"verify_email": False})
    met = enrol(at)
    assert "jhaas-enrolment-mail" not in met
    (person,) = at.people
    assert person.is_active
    assert claims(at, person)["email_verified"] is False


# --- what the portal is told


def client_of(blueprint: Blueprint) -> Entry:
    """The portal's client."""
    (client,) = blueprint.of("authentik_providers_oauth2.oauth2provider")
    return client


def claims(at: Site, person: Person) -> dict[str, Any]:
    """Everything that the portal is told of somebody."""
    client = client_of(at.blueprint)
    mappings = [at.blueprint.by_id(one) for one in client.attrs["property_mappings"]]
    told: dict[str, Any] = {}
    for mapping in mappings:
        told |= blueprints.evaluate(mapping.attrs["expression"], SimpleNamespace(user=person))
    return told


def test_an_address_counts_as_proven_only_while_it_is_the_one_that_was_proven() -> None:
    at = site()
    enrol(at)
    (person,) = at.people
    assert claims(at, person)["email_verified"] is True
    person.email = "other@example.org"
    assert claims(at, person)["email_verified"] is False
    assert claims(at, at.add("nobody@example.org"))["email_verified"] is False
    assert claims(at, at.add(""))["email_verified"] is False


def test_the_portal_is_told_a_fixed_list_of_claims_whatever_attributes_an_account_has() -> None:
    at = site()
    attributes = {"groups": ["jhaas-governance"], "email": "x", "email_verified": True, "sub": "1", "is_admin": True}
    person = at.add(attributes=attributes, groups=("jhaas-teachers", "jhaas-python-intro", "authentik Admins"))
    assert claims(at, person) == {
        "name": "",
        "preferred_username": ADDRESS,
        "email": ADDRESS,
        "email_verified": False,
        "groups": ["jhaas-teachers"],
    }


def test_the_portal_asks_for_what_it_is_told() -> None:
    from portal.identity.oidc import SCOPES

    at = site()
    mappings = map(at.blueprint.by_id, client_of(at.blueprint).attrs["property_mappings"])
    assert {mapping.attrs["scope_name"] for mapping in mappings} == set(SCOPES)


def test_roles_have_one_name_at_authentik_and_in_the_portal() -> None:
    from portal.config import PortalSettings

    defaults = {name: PortalSettings.model_fields[name].default for name in ("governance_group", "teachers_group")}
    groups = {entry.identifiers["name"] for entry in site().blueprint.of("authentik_core.group")}
    assert groups == set(defaults.values()) == {"jhaas-governance", "jhaas-teachers"}
    # everybody may ask for courses: there is no group for it
    blueprint = made(portal={**sections()["portal"], "teachers_group": ""})
    assert {entry.identifiers["name"] for entry in blueprint.of("authentik_core.group")} == {"jhaas-governance"}


def test_somebody_is_the_same_person_for_the_portal_and_for_courses() -> None:
    # course_stack.identity.authentik: a subject is the UUID of an account
    assert client_of(site().blueprint).attrs["sub_mode"] == "user_uuid"


# --- where browsers are sent


def test_browsers_are_sent_to_addresses_of_the_portal_alone_and_no_pattern_decides() -> None:
    at = site()
    client = client_of(at.blueprint).attrs
    assert client["redirect_uris"] == [
        {"matching_mode": "strict", "url": f"{PORTAL}/sign-in/callback", "redirect_uri_type": "authorization"},
        {"matching_mode": "strict", "url": f"{PORTAL}/signed-out", "redirect_uri_type": "logout"},
    ]
    (redirect,) = at.blueprint.of("authentik_stages_redirect.redirectstage")
    assert (redirect.attrs["mode"], redirect.attrs["target_static"]) == ("static", f"{PORTAL}/sign-in")
    for entry in at.blueprint.entries:
        assert "redirect" not in entry.attrs.get("expression", "")
        assert "regex" not in str(entry.values)


def test_the_addresses_of_the_portal_are_ones_that_it_serves() -> None:
    from flask import Flask

    from portal.views.auth import blueprint as views

    app = Flask("portal")
    app.register_blueprint(views)
    served = {rule.rule for rule in app.url_map.iter_rules()}
    client = client_of(site().blueprint).attrs
    addresses = [*(one["url"] for one in client["redirect_uris"]), client["logout_uri"], f"{PORTAL}/sign-in"]
    assert {address.removeprefix(PORTAL) for address in addresses} <= served


def test_the_portals_client_keeps_a_secret_and_gives_tokens_that_end_soon() -> None:
    at = site()
    client = client_of(at.blueprint).attrs
    assert client["client_type"] == "confidential"
    assert client["client_secret"] == "the-client-secret"
    assert client["grant_types"] == ["authorization_code", "refresh_token"]
    assert (client["access_code_validity"], client["access_token_validity"]) == ("minutes=1", "minutes=5")
    assert client["refresh_token_threshold"] == "seconds=0"
    # as long as the portal lets anybody be idle, at most: the refresh token must not end before
    from portal.config import PortalSettings

    most = next(one.le for one in PortalSettings.model_fields["session_idle_hours"].metadata if hasattr(one, "le"))
    assert int(client["refresh_token_validity"].removeprefix("hours=")) > most


def test_nobody_is_asked_for_consent_and_nobody_gets_by_without_a_session() -> None:
    at = site()
    client = client_of(at.blueprint).attrs
    consent = at.blueprint.by_id(client["authorization_flow"])
    assert consent.attrs["authentication"] == "require_authenticated"
    assert at.blueprint.steps(consent.identifiers["slug"]) == []
    assert at.blueprint.by_id(client["authentication_flow"]).identifiers["slug"] == "jhaas-sign-in"
    assert at.blueprint.by_id(client["invalidation_flow"]).identifiers["slug"] == "jhaas-sign-out"


def test_every_page_that_a_text_names_is_a_flow_that_there_is() -> None:
    at = site()
    slugs = {flow.identifiers["slug"] for flow in at.blueprint.of("authentik_flows.flow")}
    texts = [str(entry.values) for entry in at.blueprint.entries]
    texts += [path.read_text() for path in (ROOT / "platform/mails").glob("*.html")]
    texts.append((ROOT / "docs/identity.md").read_text())
    named = {slug for text in texts for slug in re.findall(r"/if/flow/([\w-]+)", text)}
    assert len(named) >= 2
    assert named <= slugs


def test_the_guide_calls_things_what_they_are_called() -> None:
    from identity_values import BLUEPRINT, NAMESPACE, RELEASE, SIGNING

    at = site()
    guide = (ROOT / "docs/identity.md").read_text()
    there = {str(value) for entry in at.blueprint.entries for value in entry.identifiers.values()}
    there |= {NAMESPACE, BLUEPRINT, SIGNING, f"{RELEASE}-worker", "jhaas-platform", "jhaas-SLUG-"}
    named = set(re.findall(r"\b(?:jhaas|authentik)-[\w-]+", guide))
    assert named <= there, named - there
    assert {"jhaas-governance", "jhaas-teachers"} <= named
    flows = {
        flow.identifiers["slug"]
        for flow in at.blueprint.of("authentik_flows.flow")
        if at.blueprint.steps(flow.identifiers["slug"])
    }
    assert {slug for slug in flows if not slug.startswith(("jhaas-source", "jhaas-sign-out"))} <= named
    ids = {entry.id for entry in at.blueprint.entries}
    assert set(re.findall(r"!KeyOf ([a-z][\w-]+)", guide)) <= ids
    for address in ("/sign-in/callback", "/signed-out", "/sign-out/provider"):
        assert f"https://PORTAL{address}`" in guide
        assert f"{PORTAL}{address}" in str(client_of(at.blueprint))
    for name in ("identity-client-secret", "identity-api-token", "identity-secret-key"):
        assert name in guide
        assert f'self._password("{name.removeprefix("identity-")}"' in (ROOT / "platform/identity.py").read_text()


# --- signing in and second factors


def test_codes_are_given_to_whoever_has_a_second_factor_and_no_codes() -> None:
    at = site()
    for kinds, given in (((TOTPDevice,), True), ((TOTPDevice, StaticDevice), False), ((), False)):
        person = at.add()
        for kind in kinds:
            person.get(kind)
        plan: dict[str, Any] = {"pending_user": person}
        policy = at.blueprint.named("jhaas-lacks-codes")
        assert at.ask(policy, plan) is given
        person.get(StaticDevice)
        # asked again when the page is sent
        assert at.ask(policy, plan) is given


def replace_second_factor(at: Site, person: Person, *, stop_at: str | None = None) -> list[str]:
    """The owner replaces a lost second factor, and may give up on the way."""
    plan: dict[str, Any] = {}
    met: list[str] = []
    for stage in at.walk("jhaas-second-factor-recovery", plan):
        name = stage.identifiers["name"]
        met.append(name)
        if name == stop_at:
            return met
        match stage.model.rpartition(".")[2]:
            case "identificationstage":
                plan["pending_user"] = person
            case "authenticatortotpstage":
                person.get(TOTPDevice)
            case "authenticatorstaticstage":
                person.get(StaticDevice)
    return met


def test_a_second_factor_is_replaced_first_and_dropped_then() -> None:
    at = site()
    person = at.add()
    old = [person.get(TOTPDevice), person.get(StaticDevice)]
    met = replace_second_factor(at, person)
    assert met.index("jhaas-recovery-codes") < met.index("jhaas-say-old-devices-gone") < met.index("jhaas-login")
    assert len(person.devices) == 2
    assert not set(old) & set(person.devices)
    assert {type(device) for device in person.devices} == {TOTPDevice, StaticDevice}


@pytest.mark.parametrize(
    "stop_at",
    [
        "jhaas-password",
        "jhaas-second-factor-recovery-mail",
        "jhaas-second-factor-recovery-code",
        "jhaas-totp",
        "jhaas-recovery-codes",
    ],
)
def test_who_gives_up_on_the_way_has_lost_nothing(stop_at: str) -> None:
    at = site()
    person = at.add()
    old = [person.get(TOTPDevice), person.get(StaticDevice)]
    assert replace_second_factor(at, person, stop_at=stop_at)[-1] == stop_at
    assert set(old) <= set(person.devices)


def test_a_lost_second_factor_takes_password_mail_and_code() -> None:
    at = site()
    stages = at.blueprint.stages("jhaas-second-factor-recovery")
    assert stages.index("jhaas-totp") == 4
    proofs = [at.blueprint.named(name) for name in stages[1:4]]
    assert [proof.model.rpartition(".")[2] for proof in proofs] == [
        "passwordstage",
        "emailstage",
        "authenticatorvalidatestage",
    ]
    # no codes: no way
    assert (proofs[2].attrs["device_classes"], proofs[2].attrs["not_configured_action"]) == (["static"], "deny")
    # none of the three can be passed over by a policy
    for step in at.blueprint.steps("jhaas-second-factor-recovery")[:3]:
        assert at.blueprint.policies(step) == []
    assert at.ask(at.blueprint.named("jhaas-remember-devices"), {"pending_user": at.add()}) is True


def test_new_recovery_codes_are_shown_before_the_old_ones_go_and_nothing_else_goes() -> None:
    at = site()
    person = at.add()
    app, codes = person.get(TOTPDevice), person.get(StaticDevice)
    plan: dict[str, Any] = {}
    met = []
    for stage in at.walk("jhaas-recovery-codes-setup", plan, person):
        met.append(stage.identifiers["name"])
        assert (codes in person.devices) is (met[-1] != "jhaas-say-old-codes-gone")
        if met[-1] == "jhaas-recovery-codes":
            person.get(StaticDevice)
    assert met == at.blueprint.stages("jhaas-recovery-codes-setup")
    assert app in person.devices
    assert len(person.devices) == 2


@pytest.mark.parametrize(
    "slug", ["jhaas-password-change", "jhaas-totp-setup", "jhaas-webauthn-setup", "jhaas-recovery-codes-setup"]
)
def test_who_changes_how_to_sign_in_proves_the_password_again(slug: str) -> None:
    at = site()
    assert at.blueprint.named(slug).attrs["authentication"] == "require_authenticated"
    person = at.add()
    plan: dict[str, Any] = {}
    assert next(at.walk(slug, plan, person)).identifiers["name"] == "jhaas-password"
    assert plan["pending_user"] is person
    # of the university's provider: it asked for the password
    guest = at.add(has_password=False)
    assert next(at.walk(slug, {}, guest)).identifiers["name"] != "jhaas-password"


def test_recovery_does_not_tell_which_addresses_have_an_account() -> None:
    at = site()
    for name in ("jhaas-who", "jhaas-recovery-who"):
        stage = at.blueprint.named(name).attrs
        assert (stage["pretend_user_exists"], stage["show_matched_user"]) == (True, False)
    for name in ("jhaas-recovery-mail", "jhaas-second-factor-recovery-mail"):
        stage = at.blueprint.named(name).attrs
        assert (stage["recovery_max_attempts"], stage["token_expiry"]) == (5, "minutes=30")


def test_a_new_password_needs_the_mail_and_the_second_factor() -> None:
    at = site()
    stages = at.blueprint.stages("jhaas-password-recovery")
    before = stages[: stages.index("jhaas-ask-new-password")]
    assert before == ["jhaas-recovery-who", "jhaas-recovery-mail", "jhaas-recovery-second-factor"]
    for step in at.blueprint.steps("jhaas-password-recovery"):
        assert at.blueprint.policies(step) == []
    policy = at.blueprint.named("jhaas-good-password").attrs
    assert (policy["length_min"], policy["zxcvbn_score_threshold"]) == (12, 2)
    assert policy["check_have_i_been_pwned"] is False
    fields = {
        stage.id: {at.blueprint.by_id(one).identifiers["name"] for one in stage.attrs["fields"]}
        for stage in at.blueprint.of("authentik_stages_prompt.promptstage")
    }
    asks = [
        stage
        for stage in at.blueprint.of("authentik_stages_prompt.promptstage")
        if "jhaas-new-password" in fields[stage.id]
    ]
    assert len(asks) == 2
    for stage in asks:
        assert policy is at.blueprint.by_id(stage.attrs["validation_policies"][0]).attrs


def test_sources_of_the_site_are_not_taken_off_the_sign_in() -> None:
    at = site()
    assert "sources" not in at.blueprint.named("jhaas-who").attrs
    # members of groups neither
    assert not [entry for entry in at.blueprint.of("authentik_core.group") if "users" in entry.attrs]


def test_who_comes_from_the_university_accepts_the_terms_and_is_signed_in() -> None:
    at = site()
    at.from_source = True
    plan: dict[str, Any] = {"prompt_data": {"username": "ann", "email": "Ann@Example.org", "name": "Ann"}}
    met = []
    for stage in at.walk("jhaas-source-enrolment", plan):
        met.append(stage.identifiers["name"])
        if met[-1] == "jhaas-source-write":
            write(at.add(""), plan["prompt_data"])
    assert met == ["jhaas-enrolment-terms", "jhaas-source-write", "jhaas-login"]
    (person,) = at.people
    assert (person.username, person.email) == ("ann", ADDRESS)
    assert claims(at, person)["email_verified"] is True


@pytest.mark.parametrize("slug", ["jhaas-source-sign-in", "jhaas-source-enrolment"])
def test_nobody_signs_in_as_if_the_university_had_said_so(slug: str) -> None:
    at = site()
    ((binding, policy),) = at.blueprint.policies(at.blueprint.named(slug))
    assert not at.passes(binding, policy, {}, None)
    at.from_source = True
    assert at.passes(binding, policy, {}, None)
