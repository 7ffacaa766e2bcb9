"""The web application: who reads `create_app` knows what every request goes through."""

from __future__ import annotations

import pkgutil
from importlib import import_module, metadata

from flask import Flask
from sqlalchemy import Engine
from werkzeug.middleware.proxy_fix import ProxyFix

from portal import demo, logs, look, views
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.db import connect, sessions
from portal.identity.oidc import Provider
from portal.sealing import Sealer
from portal.web import access, cookies, csrf, database, errors, headers
from portal.web.context import Portal

_MOST_BYTES = 2 * 1024 * 1024
"""Of one request: the longest thing that people send is a form."""
_MOST_FIELDS = 2_000


def create_app(settings: PortalSettings, *, clock: SiteClock | None = None, engine: Engine | None = None) -> Flask:
    """The portal for these settings. Opens no connection: database and identity provider may be down meanwhile."""
    app = Flask("portal")
    _configure(app, settings)
    _assemble(app, settings, clock, engine)
    _know_every_request(app, settings)
    _guard(app)
    _show_pages(app, settings)
    _take_views(app)
    return app


def _configure(app: Flask, settings: PortalSettings) -> None:
    app.config.update(
        # signs form tokens; everything else has keys of its own (`portal.sealing`)
        SECRET_KEY=settings.secret_key.get_secret_value(),
        SECRET_KEY_FALLBACKS=[settings.former_secret_key.get_secret_value()] if settings.former_secret_key else [],
        MAX_CONTENT_LENGTH=_MOST_BYTES,
        MAX_FORM_MEMORY_SIZE=_MOST_BYTES,
        MAX_FORM_PARTS=_MOST_FIELDS,
        PREFERRED_URL_SCHEME=settings.public_url.partition("://")[0],
    )
    if settings.proxies:
        # exactly as many as there are: one more, and anybody could choose their own address
        count = settings.proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]


def _assemble(app: Flask, settings: PortalSettings, clock: SiteClock | None, engine: Engine | None) -> None:
    engine = engine or connect(settings.database_url.get_secret_value(), pool=settings.web_threads)
    make = sessions(engine)
    clock = clock or demo.site_clock(settings, make)
    app.extensions["jhaas"] = Portal(
        settings=settings,
        clock=clock,
        sessions=make,
        engine=engine,
        sealer=Sealer.of(settings),
        provider=Provider(settings, now=lambda: clock.wall().timestamp()),
    )


def _know_every_request(app: Flask, settings: PortalSettings) -> None:
    logs.set_up(app, believe_proxy=settings.proxies > 0)
    database.set_up(app)
    app.session_interface = cookies.Notes()


def _guard(app: Flask) -> None:
    access.set_up(app)
    csrf.set_up(app)
    headers.set_up(app)
    errors.set_up(app)


def _show_pages(app: Flask, settings: PortalSettings) -> None:
    look.set_up(app, settings)
    app.jinja_env.globals["version"] = metadata.version("jhaas")
    if settings.demo:
        app.context_processor(lambda: {"demo_now": app.extensions["jhaas"].clock.now()})


def _take_views(app: Flask) -> None:
    """Every module of `portal.views`: a page cannot be forgotten here."""
    for module in pkgutil.iter_modules(views.__path__):
        app.register_blueprint(import_module(f"portal.views.{module.name}").blueprint)
