"""What people meet at a real Authentik to which the platform's blueprint was applied, sign-up open, by the API that its
pages use: an account, its proof by mail, the ways back when something is lost, and who is kept out.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator

import pytest

from tests.course_stack.identity.authentik_pages import Browser, DeniedError, Person
from tests.course_stack.identity.real_authentik import (
    URL,
    Admin,
    Mailbox,
    administrator,
    it_sends_mails,
    links,
    mailbox,
    new_address,
    there_is_one,
)

pytestmark = [there_is_one, it_sends_mails]

SIGN_IN = "/if/flow/jhaas-sign-in/"
ENROLMENT = "/if/flow/jhaas-enrolment/"
RECOVERY = "/if/flow/jhaas-password-recovery/"
FACTOR_RECOVERY = "/if/flow/jhaas-second-factor-recovery/"
MAIL_SENT = "ak-stage-email"


@pytest.fixture(scope="module")
def admin() -> Iterator[Admin]:
    with administrator() as found:
        yield found


@pytest.fixture
def mails() -> Iterator[Mailbox]:
    with mailbox() as found:
        yield found


def newcomer(address: str | None = None) -> Person:
    """Somebody who fills in the pages of a new account."""
    address, password = address or new_address(), secrets.token_urlsafe(16)
    answers = {"name": "Ann Other", "email": address, "password": password, "password_repeat": password}
    return Person(address, password, answers={**answers, "terms_accepted": True})


def enrolled(mails: Mailbox) -> Person:
    """Somebody with a proven address, an authenticator app and recovery codes."""
    person = newcomer()
    with Browser(URL, person) as browser:
        browser.open(ENROLMENT, stop_at=MAIL_SENT)
        browser.open(mails.link(person.username))
    return person


def is_signed_in(browser: Browser) -> bool:
    return browser.get("/api/v3/core/users/me/").status_code == 200


def refusal(person: Person, address: str = SIGN_IN) -> str:
    """Why somebody does not get through."""
    with Browser(URL, person) as browser:
        with pytest.raises(DeniedError) as told:
            browser.open(address)
        assert not is_signed_in(browser)
    return str(told.value)


def test_without_the_terms_or_with_a_weak_password_there_is_no_account(admin: Admin) -> None:
    person = newcomer()
    person.answers["terms_accepted"] = False
    assert "terms" in refusal(person, ENROLMENT)
    person.answers |= {"terms_accepted": True, "password": "password1234", "password_repeat": "password1234"}
    assert "too weak" in refusal(person, ENROLMENT)
    person.answers |= {"password": "Xk7#qp", "password_repeat": "Xk7#qp"}
    assert "At least 12 characters" in refusal(person, ENROLMENT)
    assert admin.account(person) is None


def test_an_account_is_made_and_its_address_proven_by_a_mail(admin: Admin, mails: Mailbox) -> None:
    person = newcomer()
    with Browser(URL, person) as browser:
        browser.open(ENROLMENT, stop_at=MAIL_SENT)
        assert not is_signed_in(browser)
        link = mails.link(person.username)
        # nobody gets in before
        refusal(person)
        account = admin.account(person)
        assert account is not None
        assert account["is_active"] is False
        browser.steps.clear()
        end = browser.open(link)
        assert end.endswith("/sign-in")
        assert not end.startswith(URL)
        assert is_signed_in(browser)
        assert [step for step in browser.steps if step != "ak-stage-consent"] == [
            # chooses what to set up, sets it up; reads that codes follow
            "ak-stage-authenticator-validate",
            "ak-stage-authenticator-totp",
            "ak-stage-prompt",
            "ak-stage-authenticator-static",
        ]
    account = admin.account(person)
    assert account is not None
    assert (account["is_active"], account["email"], account["name"]) == (True, person.username, "Ann Other")
    assert account["attributes"]["enrolment"] == "done"  # type: ignore[index]
    assert account["attributes"]["verifiedaddress"] == person.username  # type: ignore[index]
    assert account["groups"] == []
    # a second time, the second factor is asked for and nothing is set up
    with Browser(URL, person) as browser:
        browser.open(SIGN_IN)
        assert is_signed_in(browser)
        assert browser.steps == ["ak-stage-identification", "ak-stage-password", "ak-stage-authenticator-validate"]
    # the link counts once: now it leads to the first page
    with Browser(URL, newcomer()) as browser:
        browser.open(link, stop_at="ak-stage-prompt")
        assert browser.steps == ["ak-stage-prompt"]


def test_who_has_an_account_is_told_by_mail_and_nobody_else_learns_it(admin: Admin, mails: Mailbox) -> None:
    (known, _), other = admin.person(), newcomer()
    again = newcomer(known.username)
    shown = []
    for person in (other, again):
        with Browser(URL, person) as browser:
            browser.open(ENROLMENT, stop_at=MAIL_SENT)
            shown.append(browser.steps)
        subject, text = mails.next(person.username)
    assert shown[0] == shown[1]
    assert "you have an account already" in subject
    assert links(text) == set()
    # the password that was typed there is nobody's
    refusal(again)


def test_a_forgotten_password_takes_a_mail_and_the_second_factor(mails: Mailbox) -> None:
    person = enrolled(mails)
    nobody = Person(new_address(), "")
    with Browser(URL, nobody) as browser:
        browser.open(RECOVERY, stop_at=MAIL_SENT)
        same = browser.steps
    old, new = person.password, secrets.token_urlsafe(16)
    person.answers = {"password": new, "password_repeat": new}
    with Browser(URL, person) as browser:
        browser.open(RECOVERY, stop_at=MAIL_SENT)
        assert browser.steps == same
        link = mails.link(person.username)
        assert not [one for one in mails.addressees if nobody.username in one]
        browser.steps.clear()
        browser.open(link)
        assert is_signed_in(browser)
        assert [step for step in browser.steps if step != "ak-stage-consent"] == [
            "ak-stage-authenticator-validate",
            "ak-stage-prompt",
        ]
    refusal(Person(person.username, old))
    person.password = new
    with Browser(URL, person) as browser:
        browser.open(SIGN_IN)
        assert is_signed_in(browser)


def test_a_lost_second_factor_takes_password_mail_and_a_recovery_code(admin: Admin, mails: Mailbox) -> None:
    person = enrolled(mails)
    lost, old_codes, person.authenticator = person.authenticator, list(person.recovery_codes), None
    with Browser(URL, person) as browser:
        browser.open(FACTOR_RECOVERY, stop_at=MAIL_SENT)
        browser.open(mails.link(person.username))
        assert is_signed_in(browser)
    assert person.authenticator not in (None, lost)
    assert not set(person.recovery_codes) & set(old_codes)
    # first who gets in: after a wrong code Authentik takes none for a moment
    with Browser(URL, person) as browser:
        browser.open(SIGN_IN)
        assert is_signed_in(browser)
    refusal(Person(person.username, person.password, authenticator=lost))
    account = admin.account(person)
    assert account is not None
    for kind in ("totp", "static"):
        devices = admin.find(f"/authenticators/admin/{kind}/", page_size="100")
        owners = [dict(one["user"])["pk"] for one in devices]
        assert owners.count(account["pk"]) == 1, kind


@pytest.fixture
def room_for_bad_reputations(admin: Admin) -> Iterator[None]:
    """As the guide says: Authentik counts wrong passwords by a reputation, which has no end here."""
    before = admin.do("GET", "/admin/settings/", 200)["reputation_lower_limit"]
    admin.do("PATCH", "/admin/settings/", 200, reputation_lower_limit=-1_000_000)
    yield
    admin.do("PATCH", "/admin/settings/", 200, reputation_lower_limit=before)


@pytest.mark.usefixtures("room_for_bad_reputations")
def test_a_wrong_password_is_told_and_after_five_it_begins_anew(admin: Admin) -> None:
    person, _ = admin.person()
    person.password = "not the password"
    assert "password" in refusal(person).lower()
    for _ in range(2):
        with Browser(URL, person, patience=10) as browser, pytest.raises(DeniedError):
            browser.open(SIGN_IN)
        assert browser.steps.count("ak-stage-password") == 5
        assert browser.steps[-1] == "ak-stage-access-denied"


def test_a_deactivated_account_stays_out_whatever_its_owner_tries(admin: Admin, mails: Mailbox) -> None:
    person = enrolled(mails)
    admin.change(person, is_active=False)
    refusal(person)
    new = secrets.token_urlsafe(16)
    person.answers = {"password": new, "password_repeat": new}
    for address in (RECOVERY, ENROLMENT):
        again = person if address == RECOVERY else newcomer(person.username)
        with Browser(URL, again) as browser:
            with contextlib.suppress(DeniedError):
                browser.open(address, stop_at=MAIL_SENT)
            assert not is_signed_in(browser)
    # of the two, signing up tells its owner that there is an account; neither gives a way in
    for link in links(mails.next(person.username)[1]):
        with Browser(URL, person) as browser:
            with contextlib.suppress(DeniedError):
                browser.open(link)
            assert not is_signed_in(browser)
    account = admin.account(person)
    assert account is not None
    assert account["is_active"] is False


def test_an_invitation_opens_the_pages_of_a_new_account(admin: Admin) -> None:
    (flow,) = admin.find("/flows/instances/", slug="jhaas-enrolment")
    path = "/stages/invitation/invitations/"
    made = admin.do("POST", path, 201, name="jhaas-trial", flow=flow["pk"], single_use=False)
    with Browser(URL, newcomer()) as browser:
        browser.open(f"{ENROLMENT}?itoken={made['pk']}", stop_at="ak-stage-prompt")
        assert browser.steps == ["ak-stage-prompt"]
    admin.do("DELETE", f"{path}{made['pk']}/", 204)
