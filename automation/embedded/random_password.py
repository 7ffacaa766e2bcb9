"""`random:index/randomPassword:RandomPassword` without its plugin, with the state that the plugin (4.21) writes."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from typing import Any

from automation.embedded.errors import EngineError
from automation.embedded.plugin_provider import PluginProvider
from automation.embedded.providers import Diff, Made, ProviderError
from automation.embedded.state import Resource
from automation.embedded.values import UNKNOWN, Properties, Secret, changed_keys, has_unknown, plain

TYPE = "random:index/randomPassword:RandomPassword"
_SPECIAL = "!@#$%&*()-_=+[]{}<>:?"
_DEFAULTS: dict[str, Any] = {
    "lower": True, "minLower": 0, "minNumeric": 0, "minSpecial": 0, "minUpper": 0,
    "number": True, "numeric": True, "special": True, "upper": True,
}  # fmt: skip
_OPTIONAL = ("keepers", "overrideSpecial")
_BCRYPT_BYTES = 72
"""More of a password does not go into a bcrypt hash."""


class RandomProvider:
    """Makes passwords itself and hands every other random resource to the plugin, where that is installed."""

    def __init__(self, plugin: Callable[[], PluginProvider]) -> None:
        self._start_plugin = plugin
        self._configuration: tuple[Resource, Properties] | None = None
        self._plugin: PluginProvider | None = None

    def check_config(self, resource: Resource, olds: Properties, news: Properties) -> Properties:  # noqa: ARG002
        return dict(news)

    def diff_config(self, resource: Resource, old: Resource, news: Properties) -> Diff | None:  # noqa: ARG002
        return None

    def configure(self, resource: Resource, inputs: Properties) -> None:
        self._configuration = resource, inputs

    def check(
        self, resource: Resource, olds: Properties | None, news: Properties, *, preview: bool
    ) -> tuple[Properties, list[tuple[str, str]]]:
        if resource.type != TYPE:
            return self._other(resource).check(resource, olds, news, preview=preview)
        return dict(news), [] if has_unknown(news) else _problems({**_DEFAULTS, **plain(news)})

    def diff(
        self, resource: Resource, old: Resource, news: Properties, ignore: list[str], *, preview: bool
    ) -> Diff | None:
        if resource.type != TYPE:
            return self._other(resource).diff(resource, old, news, ignore, preview=preview)
        state = {key: plain(value) for key, value in (old.outputs or {}).items()}
        before = {key: state.get(key, _DEFAULTS.get(key)) for key in (*_DEFAULTS, *_OPTIONAL, "length")}
        keys = tuple(changed_keys(before, _wanted(plain(news))))
        kinds = {key: {"diffKind": "update-replace", "inputDiff": True} for key in keys}
        return Diff(bool(keys), replaces=keys, keys=keys, detailed=kinds)

    def create(self, resource: Resource, *, preview: bool) -> Made:
        if resource.type != TYPE:
            return self._other(resource).create(resource, preview=preview)
        inputs = resource.inputs or {}
        if preview:
            known = {key: value for key, value in _wanted(inputs).items() if value is not None}
            return Made("", {**known, "result": Secret(UNKNOWN), "bcryptHash": Secret(UNKNOWN)})
        return Made("none", _state(inputs))

    def update(self, resource: Resource, old: Resource, ignore: list[str], *, preview: bool) -> Made:
        if resource.type != TYPE:
            return self._other(resource).update(resource, old, ignore, preview=preview)
        return Made(old.id, dict(old.outputs or {}))

    def read(self, resource: Resource) -> Made:
        if resource.type != TYPE:
            return self._other(resource).read(resource)
        return Made(resource.id, dict(resource.outputs or {}))

    def delete(self, resource: Resource) -> None:
        if resource.type != TYPE:
            self._other(resource).delete(resource)

    def _other(self, resource: Resource) -> PluginProvider:
        if self._plugin is None:
            try:
                self._plugin = self._start_plugin()
            except EngineError as error:
                raise ProviderError(f"{resource.type} needs the plugin: {error}") from error
            if self._configuration is not None:
                self._plugin.configure(*self._configuration)
        return self._plugin


def _wanted(inputs: Properties) -> Properties:
    wanted = {**_DEFAULTS, **dict.fromkeys((*_OPTIONAL, "length")), **inputs}
    # `number` is the old name of `numeric`: whichever is given goes for both.
    if "numeric" in inputs or "number" in inputs:
        wanted["number"] = wanted["numeric"] = inputs.get("numeric", inputs.get("number"))
    return wanted


def _problems(inputs: Properties) -> list[tuple[str, str]]:
    length = inputs.get("length")
    if not isinstance(length, int) or length < 1:
        return [("length", "must be a whole number of at least 1")]
    least = sum(int(inputs[key]) for key in ("minLower", "minNumeric", "minSpecial", "minUpper"))
    if length < least:
        return [("length", f"must be at least {least}, the sum of minUpper, minLower, minNumeric and minSpecial")]
    if not any(inputs[key] for key in ("lower", "numeric", "special", "upper")):
        return [("length", "at least one of lower, numeric, special and upper must be true")]
    return []


def _state(inputs: Properties) -> Properties:
    import bcrypt

    wanted = _wanted(plain(inputs))
    password = _password(wanted)
    digest = bcrypt.hashpw(password.encode()[:_BCRYPT_BYTES], bcrypt.gensalt(10)).decode()
    given = {**_wanted(inputs), "id": "none", "result": Secret(password), "bcryptHash": Secret(digest)}
    state = {key: value for key, value in given.items() if value is not None}
    raw: Properties = {}
    for key in _OPTIONAL:
        if key not in state:
            raw[key] = Secret({"replace": {"raw": None}})
        elif key == "keepers":
            raw[key] = {"map": {}}
    state["__meta"] = '{"schema_version":"3"}'
    if raw:
        state["__pulumi_raw_state_delta"] = {"obj": {"ps": raw}}
    return state


def _password(wanted: Properties) -> str:
    classes = {
        "Lower": string.ascii_lowercase if wanted["lower"] else "",
        "Numeric": string.digits if wanted["numeric"] else "",
        "Special": (wanted["overrideSpecial"] or _SPECIAL) if wanted["special"] else "",
        "Upper": string.ascii_uppercase if wanted["upper"] else "",
    }
    alphabet = "".join(classes.values())
    # The least of a class is drawn even where the class itself is switched off, as the plugin does.
    sources = {
        "Lower": string.ascii_lowercase,
        "Numeric": string.digits,
        "Special": wanted["overrideSpecial"] or _SPECIAL,
        "Upper": string.ascii_uppercase,
    }
    drawn = [secrets.choice(sources[name]) for name in sources for _ in range(int(wanted[f"min{name}"]))]
    drawn += [secrets.choice(alphabet) for _ in range(int(wanted["length"]) - len(drawn))]
    secrets.SystemRandom().shuffle(drawn)
    return "".join(drawn)
