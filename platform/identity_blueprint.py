"""What Authentik is told: the blueprint of flows, roles and clients, and the mails. Pure text.

The entries are in `blueprints/*.yaml`, as Authentik reads them: `!Context NAME` is a parameter, `!KeyOf ID` another
entry. They are put together into one blueprint, which Authentik applies as one transaction: all or nothing, and no
order between files to hope for. A site's own entries come last. A second one proves that the first was applied.
"""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PARTS = (
    "defaults",
    "groups",
    "stages",
    "second_factors",
    "password_recovery",
    "second_factor_recovery",
    "enrolment",
    "sources",
    "sign_in",
    "sign_out",
    "portal",
    "service_account",
    "brand",
)
"""Files of entries; an entry refers to what stands before it only."""
TERMS = (
    "Use this service for teaching and learning only. Keep to the rules of your institution and to the law. What you "
    "run here can be seen by the people who run the service where they must look after it. Courses end, and their "
    "files are deleted after a while: fetch yours in time."
)
"""Where the site has no terms of its own."""


def blueprint(parameters: Mapping[str, Any], sources: Iterable[str] = ()) -> str:
    """The whole blueprint, with its parameters in it; secrets among them make it a secret.

    `sources`: entries of the site's own, each the content of a file.
    """
    entries = _entries(sources)
    return _whole("JHaaS", {**parameters, "mark": _mark(parameters, entries)}, entries)


def proof(parameters: Mapping[str, Any], sources: Iterable[str] = ()) -> str:
    """A blueprint that Authentik refuses as long as `blueprint` of the same was not applied."""
    return _whole("JHaaS is applied", {"mark": _mark(parameters, _entries(sources))}, [_part("applied")])


def _entries(sources: Iterable[str]) -> list[str]:
    return [*map(_part, PARTS), *(source.rstrip("\n") + "\n" for source in sources)]


def _part(name: str) -> str:
    return (HERE / "blueprints" / f"{name}.yaml").read_text()


def _whole(name: str, context: Mapping[str, Any], entries: Iterable[str]) -> str:
    # JSON is YAML, and quotes everything that could be taken for something else
    written = json.dumps(dict(context), ensure_ascii=False)
    return f"version: 1\nmetadata:\n  name: {name}\ncontext: {written}\nentries:\n" + "\n".join(entries)


def _mark(parameters: Mapping[str, Any], entries: Iterable[str]) -> str:
    """Differs for each blueprint, and tells nothing of what is in it."""
    return hashlib.sha256(json.dumps([dict(parameters), *entries]).encode()).hexdigest()


def terms(url: str | None) -> dict[str, str]:
    """Parameters of the terms: the text that people see (HTML), and the name under which their consent is kept."""
    if url is None:
        return {"terms_text": TERMS, "terms_name": "built-in"}
    address = html.escape(url)
    link = f'<a href="{address}" target="_blank" rel="noopener">{address}</a>'
    return {"terms_text": f"Read the terms of use: {link}", "terms_name": url}


def mails(site_name: str, contact: str, portal_url: str, identity_url: str) -> dict[str, str]:
    """File name → Django template of each mail that Authentik sends for us."""
    words = {"site_name": site_name, "contact": contact, "portal_url": portal_url, "identity_url": identity_url}
    return {path.name: _filled(path.read_text(), words) for path in sorted((HERE / "mails").glob("*.html"))}


def _filled(template: str, words: Mapping[str, str]) -> str:
    for name, word in words.items():
        # a name with braces is text to Django, too
        safe = html.escape(word).replace("{", "&#123;").replace("}", "&#125;")
        template = template.replace(f"[[{name}]]", safe)
    return template
