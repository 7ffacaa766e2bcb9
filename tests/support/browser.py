"""A browser without a screen: cookies, redirects and forms, for names below `localhost`."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar, get_cookie_header


class _Loopback(HTTPAdapter):
    """Connects to 127.0.0.1 whatever the name: browsers resolve `anything.localhost`, the C library does not.

    With a port, to that one, and asks for the name's certificate."""

    def __init__(self, cookies: RequestsCookieJar, port: int | None = None) -> None:
        super().__init__()
        self._cookies, self._port = cookies, port

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if self._port is None:
            return {**host, "host": "127.0.0.1"}, pool
        named = {"server_hostname": host["host"], "assert_hostname": host["host"]}
        return {**host, "host": "127.0.0.1", "port": self._port}, {**pool, **named}

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        assert request.url
        # requests itself asks a jar that knows nothing of our policy
        request.headers.pop("Cookie", None)
        if cookies := get_cookie_header(self._cookies, request):
            request.headers["Cookie"] = cookies
        request.headers["Host"] = urlsplit(request.url).netloc
        try:
            return super().send(request, *args, **kwargs)
        finally:
            # a redirect to another host would inherit it, and send that host's cookies
            del request.headers["Host"]


@dataclass
class Form:
    """One form of a page."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get").lower()))
            self._open = True
        elif tag in ("input", "button") and self._open and given.get("name"):
            if given.get("type") in ("checkbox", "radio") and "checked" not in given:
                return  # a browser sends what is ticked
            self.forms[-1].fields[given["name"]] = given.get("value", "")
            self.forms[-1].kinds[given["name"]] = given.get("type", "submit" if tag == "button" else "text")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = False


class Browser:
    """One person's browser. Where `https_port` is given, addresses with TLS are reached there, on this machine, and
    their certificates believed if the authority signed them whose file it is."""

    def __init__(self, *, https_port: int | None = None, authority: Path | None = None) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        weakref.finalize(self, self.session.close)
        # as browsers do: names below `localhost` count as a secure way
        self.session.cookies.set_policy(DefaultCookiePolicy(secure_protocols=("http", "https")))
        self.session.mount("http://", _Loopback(self.session.cookies))
        if https_port is not None:
            self.session.mount("https://", _Loopback(self.session.cookies, https_port))
            self.session.verify = str(authority)

    def get(self, url: str, **kwargs: Any) -> requests.Response:
        return self.session.get(url, timeout=60, **kwargs)

    def forms(self, page: requests.Response) -> list[Form]:
        parser = _Forms()
        parser.feed(page.text)
        return parser.forms

    def submit(self, page: requests.Response, form: Form, **values: str) -> requests.Response:
        """Send the form with these values in place of its own; buttons are sent only when given."""
        buttons = {name for name, kind in form.kinds.items() if kind in ("submit", "button")}
        data = {name: value for name, value in form.fields.items() if name not in buttons} | values
        # a form without an action goes to the page's own address, an empty one too
        url = urljoin(page.url, form.action) if form.action else page.url
        return self.session.request(
            form.method, url, data=data, headers={"Referer": page.url, "Origin": _origin(page.url)}, timeout=60
        )

    def sign_in(self, url: str, login: str, password: str) -> requests.Response:
        """Open the address, and sign in at the identity provider if it asks; the page on which that ends."""
        page = self.get(url)
        for _ in range(6):
            form = next((one for one in self.forms(page) if {"login", "password"} & set(one.fields)), None)
            if form is None:
                if consent := next((one for one in self.forms(page) if one.fields.get("answer") == "accept"), None):
                    page = self.submit(page, consent, answer="accept")
                    continue
                return page
            given = {"login": login, "password": password}
            page = self.submit(
                page, form, **{name: given[name] for name in ("login", "password") if name in form.fields}
            )
        raise AssertionError(f"{login} could not sign in: still at {page.url}")

    def cookie(self, name: str, url: str) -> str:
        """The value that a request to this address would send; empty without one."""
        request = self.session.prepare_request(requests.Request("GET", url))
        pairs = [pair.strip().partition("=") for pair in request.headers.get("Cookie", "").split(";")]
        return next((value for key, _, value in pairs if key == name), "")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
