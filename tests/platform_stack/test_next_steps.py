"""What an operator is told to do once `up` has ended."""

from __future__ import annotations

from typing import Any

from tests.platform_stack import switches
from tests.platform_stack.conftest import Rehearse, sections


def steps(**changes: Any) -> str:
    from next_steps import next_steps
    from stack_file import parsed

    return "\n".join(next_steps(parsed(sections(**changes))))


def test_the_way_from_up_to_the_first_course_is_told() -> None:
    told = steps(certificates={"issuer": "letsencrypt"}, mail={"host": "mail.example.org"})
    assert [line.split(" ")[0] for line in told.splitlines()] == ["Sign", "Put", "Open", "Keep"]
    assert "https://login.courses.example.org/ as akadmin" in told
    assert "https://courses.example.org/" in told


def test_what_is_unusual_is_told_too() -> None:
    assert "kubectl get secret jhaas-authority -n cert-manager" in steps()
    assert "set jhaas-platform:mail.host" in steps()
    theirs = {"kind": "existing", "namespace": "ingress"}
    told = steps(ingress=theirs, certificates={"wildcard": True})
    assert "certificate hubs-wildcard of the namespace ingress" in told


def test_a_provider_of_the_sites_has_its_own_admins() -> None:
    told = steps(**switches.SWITCHES["identity"]["oidc"], portal={"teachers_group": ""})
    assert "akadmin" not in told
    assert "jhaas-teachers" not in told
    assert "into the group jhaas-governance of your provider" in told


def test_the_stack_tells_them_and_keeps_the_admins_password_secret(rehearse: Rehearse) -> None:
    made = rehearse()
    assert "\n".join(made.exports["next_steps"]) == steps()
    assert made.exports["sign_in_url"] == "https://login.courses.example.org"
    assert made.secret_exports == {"admin_password"}
    theirs = rehearse(**switches.SWITCHES["identity"]["oidc"])
    assert theirs.exports["sign_in_url"] == "https://sso.example.org/realms/university"
    assert "admin_password" not in theirs.exports
