"""What every answer tells the browser to refuse."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, request

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # addresses may hold join codes
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_YEAR = 365 * 24 * 3600


def set_up(app: Flask) -> None:
    """Add the headers to every answer, errors and files included."""
    settings = app.extensions["jhaas"].settings
    policy = content_security_policy(settings.oidc_issuer)
    https = urlsplit(settings.public_url).scheme == "https"

    @app.after_request
    def add(response: Response) -> Response:
        for name, value in _ALWAYS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Content-Security-Policy", policy)
        if https:
            response.headers.setdefault("Strict-Transport-Security", f"max-age={_YEAR}; includeSubDomains")
        if request.endpoint != "static":
            # pages are one person's: no cache keeps them, and the way back after signing out shows nothing
            response.headers["Cache-Control"] = "no-store"
            response.vary.add("Cookie")
        elif response.status_code == 200:
            response.headers["Cache-Control"] = "public, max-age=3600"
        return response


def content_security_policy(provider: str) -> str:
    """Only what we serve ourselves, nothing inline. Signing out leads to the identity provider by a form."""
    parts = urlsplit(provider)
    rules = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",  # Bootstrap's own style holds small pictures
        "font-src": "'self'",
        "connect-src": "'self'",
        "manifest-src": "'self'",
        "object-src": "'none'",
        "form-action": f"'self' {parts.scheme}://{parts.netloc}",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())
