"""What two stores may differ in: times, nonces, ids, source positions, random values, and which engine wrote them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from automation.embedded.secrets import Keys, PassphraseSecrets
from automation.embedded.values import SECRET, SIGNATURE

_KEYS = Keys()
MASKED_FIELDS = frozenset(
    {
        "time", "magic",  # of the manifest
        "salt", "created", "modified", "startTime", "endTime",
        "sourcePosition", "stackTrace",
        "__provider",  # the dynamic provider's code
        "result", "bcryptHash", "key",  # the random password, and its export
    }
)  # fmt: skip
_VERSIONS = re.compile(r"v?3\.2\d\d\.\d+|4\.\d+\.\d+")
_PROVIDER_NAMES = re.compile(r"default_4_\d+_\d+")
_UUIDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NUMBERS = re.compile(r"\d{19}")


def masked_name(key: str) -> str:
    """A key of the store without the instant in it."""
    return _NUMBERS.sub("INSTANT", key)


def masked_file(path: Path, passphrase: str) -> Any:
    """An object of the store, secrets decrypted, with everything masked that may differ. Order is kept."""
    if path.suffix == ".yaml":
        return path.read_text()
    data = json.loads(path.read_text())
    found = re.search(r'"salt": ?"([^"]+)"', path.read_text())
    secrets = PassphraseSecrets(_KEYS, passphrase, found[1]) if found else None
    if "environment" in data:
        # Of what surrounded the operation, the names are compared that say what was asked for.
        data["environment"] = {
            key: value
            for key, value in data["environment"].items()
            if key.startswith(("pulumi.flag", "exec.", "updatePlan"))
        }
    return _masked(data, secrets)


def _masked(value: Any, secrets: PassphraseSecrets | None) -> Any:
    if isinstance(value, dict):
        if value.get(SIGNATURE) == SECRET:
            assert secrets is not None
            return {"SECRET": _masked(json.loads(secrets.crypter.decrypt(value["ciphertext"])), secrets)}
        if set(value) == {"secure"}:
            return {"secure": "CIPHERTEXT"}
        return {
            key: "MASKED"
            if key in MASKED_FIELDS and item != {} and not _is_result(key, item)
            else _masked(item, secrets)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_masked(item, secrets) for item in value]
    if isinstance(value, str):
        value = _PROVIDER_NAMES.sub("default_VERSION", value)
        return _UUIDS.sub("UUID", _VERSIONS.sub("VERSION", value))
    return value


def _is_result(key: str, item: Any) -> bool:
    """`result` is also the name of how an operation ended."""
    return key == "result" and item in ("succeeded", "failed")
