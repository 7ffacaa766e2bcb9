"""What holds for every hub, wherever it is: who gets in and for how long, and who may do what. Pure data.

Nobody is an admin of a hub: leads see and open their participants' servers, the portal's service may do what
`portal_scopes` lists.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from course_stack.names import CourseNames
from course_stack.spec import CourseSpec
from course_stack.target import Target

PORTAL_SERVICE = "jhaas-portal"
CHECK_USER = "jhaas-check"
"""Made and removed by the check that a notebook really runs; nobody can sign in under this name."""

REFRESH_SECONDS = 120
"""Age at which a signed-in person is asked about again, at their next request to the hub."""
RECHECK_SECONDS = 60
"""How often people with a running server are asked about. Both together stay well below the five minutes promised."""
CULL_EVERY_SECONDS = 300
"""How often idle and overdue servers are looked for, at most: twice in the time that counts as idle, at least."""


def sign_in(spec: CourseSpec, target: Target) -> dict[str, Any]:
    """Settings of `CourseAuthenticator` but for the client, its secret, and the provider's addresses."""
    home = target.hub_url(spec.slug)
    return {
        "login_service": "your account",
        "auto_login": True,
        "basic_auth": True,
        "enable_pkce": True,
        "oauth_callback_url": f"{home}hub/oauth_callback",
        "home_url": home,
        "provider_host": urlsplit(target.identity.url).netloc if target.identity.internal_url else "",
        "scope": ["openid", "profile", "email", "groups"],
        "username_claim": "sub",
        "manage_groups": True,
        "auth_state_groups_key": "oauth_user.groups",
        "allowed_groups": [CourseNames(spec.slug).group],
        "custom_403_message": f"You are not in the course {spec.title}. Ask its teachers to let you in.",
        "enable_auth_state": True,
        "auth_refresh_age": REFRESH_SECONDS,
        "recheck_seconds": RECHECK_SECONDS,
        "check_user": CHECK_USER,
    }


def cull_every(spec: CourseSpec) -> int:
    """Seconds between two looks for idle and overdue servers."""
    return min(CULL_EVERY_SECONDS, spec.culling.idle_minutes * 30)


def server_arguments(recheck_seconds: int = RECHECK_SECONDS) -> list[str]:
    """Arguments of every notebook server.

    It asks the hub about a visitor again after `recheck_seconds`; left alone it would remember for five minutes. A
    server that is told to end does not ask whether it should. And JupyterLab asks nobody on the internet for news and
    newer versions.
    """
    return [
        f"--HubOAuth.cache_max_age={recheck_seconds}",
        "--ServerApp.answer_yes=True",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]


def portal_scopes() -> list[str]:
    """What the portal's token may do: see people and servers, start and stop servers, remove people from the hub, and
    run the check under a name of its own. It cannot open anybody's server, read a file or make an admin."""
    return [
        "list:users",
        "read:users",
        "read:groups",
        "read:hub",
        "read:metrics",
        "servers",
        "delete:users",
        *(f"{scope}!user={CHECK_USER}" for scope in ("admin:users", "admin:servers", "access:servers", "tokens")),
    ]


def lead_scopes(names: CourseNames) -> list[str]:
    """What leads may do with everybody's server in their course: see, start, stop and open it."""
    everybody = f"!group={names.group}"
    return [
        "admin-ui",
        "read:hub",
        *(f"{scope}{everybody}" for scope in ("list:users", "admin:servers", "access:servers")),
    ]
