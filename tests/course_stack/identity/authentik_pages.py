"""Authentik's sign-in pages as a browser sees them, by the API that its own pages use: a challenge, an answer, the next
challenge. https://docs.goauthentik.io/developer-docs/api/flow-executor/
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
import struct
import time
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

Challenge = dict[str, Any]
MAX_STEPS = 30


class DeniedError(Exception):
    """Authentik ends a flow; the message is what it tells the person."""


def one_time_code(secret: str, at: float | None = None) -> str:
    """The six digits that an authenticator app shows (RFC 6238). `secret`: base 32, `at`: seconds, by default now."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    mark = hmac.digest(key, struct.pack(">Q", int((time.time() if at is None else at) // 30)), hashlib.sha1)
    start = mark[-1] & 15
    return f"{(struct.unpack('>I', mark[start : start + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


@dataclass
class Person:
    """Somebody who signs in; what they set up on the way is kept here."""

    username: str
    password: str
    authenticator: str | None = None
    """Secret of the authenticator app."""
    recovery_codes: list[str] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    """What they type into forms, by the field's key."""
    used: set[str] = field(default_factory=set)
    """Codes of the authenticator app that were given: each counts once."""


class Browser:
    """One person's browser at one Authentik. `steps` are the components of all pages that were shown."""

    def __init__(self, url: str, person: Person, *, verify: ssl.SSLContext | bool = True, patience: int = 0) -> None:
        self.url, self.person, self.steps = url.rstrip("/"), person, list[str]()
        self.patience = patience
        """How many more times a wrong answer is given again."""
        self._http = httpx.Client(base_url=self.url, timeout=60, trust_env=False, verify=verify)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def open(self, address: str, stop_at: str | None = None) -> str:
        """Open an address and answer every page on the way; where the browser leaves Authentik for, or ends.

        `stop_at`: a component whose page is left unanswered.
        """
        for _ in range(MAX_STEPS):
            if not self._is_here(address):
                return address
            path = urlsplit(address).path
            if path.startswith("/if/flow/"):
                address = self._walk(path.split("/")[3], urlsplit(address).query, stop_at)
                if not address:
                    return ""
                continue
            answer = self._http.get(address)
            if not answer.is_redirect:
                return address if answer.is_success else f"{address} {answer.status_code}"
            address = str(answer.next_request.url) if answer.next_request else ""
        raise AssertionError(f"no end after {self.steps}")

    def get(self, path: str) -> httpx.Response:
        """One call as this person."""
        return self._http.get(path)

    def _is_here(self, address: str) -> bool:
        return not urlsplit(address).netloc or urlsplit(address).netloc == urlsplit(self.url).netloc

    def _walk(self, slug: str, query: str, stop_at: str | None) -> str:
        """Through one flow; where it leads to, nothing where the walk stops."""
        place = f"/api/v3/flows/executor/{slug}/?{urlencode({'query': query})}"
        challenge = self._shown(self._http.get(place, follow_redirects=True))
        for _ in range(MAX_STEPS):
            component = challenge["component"]
            if component == "xak-flow-redirect":
                return str(challenge["to"])
            self.steps.append(component)
            if component == stop_at:
                return ""
            if component == "ak-stage-access-denied":
                raise DeniedError(challenge.get("error_message") or "")
            answer = {"component": component, **self._answer(challenge)}
            csrf = {"X-authentik-CSRF": self._http.cookies.get("authentik_csrf") or ""}
            challenge = self._shown(self._http.post(place, json=answer, headers=csrf, follow_redirects=True))
            if wrong := challenge.get("response_errors"):
                if not self.patience:
                    raise DeniedError(f"{wrong} after {self.steps}")
                self.patience -= 1
        raise AssertionError(f"no end after {self.steps}")

    @staticmethod
    def _shown(answer: httpx.Response) -> Challenge:
        assert answer.is_success, (answer.status_code, answer.text[:500])
        return dict(answer.json())

    def _answer(self, challenge: Challenge) -> dict[str, Any]:
        person = self.person
        match challenge["component"]:
            case "ak-stage-identification":
                return {"uid_field": person.username}
            case "ak-stage-password":
                return {"password": person.password}
            case "ak-stage-authenticator-validate":
                return self._second_factor(challenge)
            case "ak-stage-authenticator-totp":
                (person.authenticator,) = parse_qs(urlsplit(challenge["config_url"]).query)["secret"]
                person.used.add(code := one_time_code(person.authenticator))
                return {"code": code}
            case "ak-stage-authenticator-static":
                person.recovery_codes = list(challenge["codes"])
                return {}
            case "ak-stage-consent":  # whoever opens a link of a mail says so: programs that look at mails do not
                return {"token": challenge["token"]}
            case "ak-stage-prompt":
                asked = [one["field_key"] for one in challenge["fields"] if one["type"] != "static"]
                return {key: person.answers.get(key, "") for key in asked}
        raise AssertionError(f"no answer is known to {challenge}")

    def _second_factor(self, challenge: Challenge) -> dict[str, Any]:
        if not challenge["device_challenges"]:
            (totp,) = [one["pk"] for one in challenge["configuration_stages"] if "totp" in one["meta_model_name"]]
            return {"selected_stage": totp}
        classes = {device["device_class"] for device in challenge["device_challenges"]}
        if self.person.authenticator and "totp" in classes:
            # the next one is taken as well; not where the app seemed to be late when it was set up
            for ahead in (0, 30):
                code = one_time_code(self.person.authenticator, time.time() + ahead)
                if code not in self.person.used:
                    self.person.used.add(code)
                    return {"code": code}
        return {"code": self.person.recovery_codes.pop(0)}
