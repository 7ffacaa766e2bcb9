"""Project and stack settings in the work folder: `Pulumi.yaml` and `Pulumi.STACK.yaml`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from automation.embedded.errors import EngineError, Unsupported
from automation.embedded.secrets import PROVIDER, Crypter
from automation.embedded.values import Properties, Secret

_ENDINGS = (".yaml", ".yml", ".json")


class Project:
    """The project of the folder, or of the nearest folder above it that has one."""

    def __init__(self, cwd: str) -> None:
        """Raises `EngineError` where there is no project, or none that can be read."""
        for folder in (Path(cwd), *Path(cwd).parents):
            for ending in _ENDINGS:
                path = folder / f"Pulumi{ending}"
                if path.is_file():
                    data = _read(path)
                    self.folder = folder
                    self.name = str(data.get("name") or "")
                    if not self.name:
                        raise EngineError(f"{path}: project is missing a 'name' attribute")
                    if data.get("config"):
                        raise Unsupported(f"configuration in the project file ({path})")
                    return
        raise EngineError(
            "no Pulumi.yaml project file found (searching upwards from the current directory): "
            "give the Automation API project settings"
        )


class StackSettings:
    """A stack's configuration and the salt of its secrets."""

    def __init__(self, project: Project, stack: str) -> None:
        self._project = project.name
        self._path = project.folder / f"Pulumi.{stack}.yaml"
        self._data = _read(self._path) if self._path.is_file() else {}
        provider = self._data.get("secretsprovider")
        if provider not in (None, "", PROVIDER, "default"):
            raise Unsupported(f"the secrets provider {provider}")
        if self._data.get("environment"):
            raise Unsupported("environments in stack settings")

    @property
    def salt(self) -> str | None:
        return self._data.get("encryptionsalt") or None

    @salt.setter
    def salt(self, salt: str) -> None:
        self._data["encryptionsalt"] = salt

    @property
    def raw(self) -> dict[str, Any]:
        """Values by full key, as the file has them: texts, or `{"secure": CIPHERTEXT}`."""
        return {key: self._data["config"][key] for key in sorted(self._data.get("config") or {})}

    @property
    def has_secrets(self) -> bool:
        return any(isinstance(value, dict) and "secure" in value for value in self.raw.values())

    def full_key(self, key: str) -> str:
        return key if ":" in key else f"{self._project}:{key}"

    def set(self, key: str, value: str, crypter: Crypter | None) -> None:
        """Set a value; with a crypter, encrypted."""
        self._data.setdefault("config", {})[self.full_key(key)] = (
            {"secure": crypter.encrypt(value)} if crypter is not None else value
        )

    def remove(self, key: str) -> None:
        (self._data.get("config") or {}).pop(self.full_key(key), None)
        if not self._data.get("config"):
            self._data.pop("config", None)

    def values(self, crypter: Crypter | None) -> Properties:
        """Texts by full key, secrets decrypted; without a crypter they stay empty."""
        return {key: _value(key, value, crypter) for key, value in self.raw.items()}

    def save(self) -> None:
        order = ("secretsprovider", "encryptedkey", "encryptionsalt", "config", "environment")
        data = {key: self._data[key] for key in order if self._data.get(key)}
        if "config" in data:
            data["config"] = {key: data["config"][key] for key in sorted(data["config"])}
        part = self._path.with_name(self._path.name + ".part")
        part.write_text(yaml.safe_dump(data, sort_keys=False, width=10**9, allow_unicode=True) if data else "")
        part.replace(self._path)

    def delete(self) -> None:
        self._path.unlink(missing_ok=True)


def _value(key: str, value: Any, crypter: Crypter | None) -> Any:
    if isinstance(value, dict) and set(value) == {"secure"}:
        # The file's ciphertext is of the bare text, the state's would be of JSON: it must not go along.
        return Secret(crypter.decrypt(value["secure"]) if crypter else "")
    if isinstance(value, dict | list):
        if '"secure":' in (text := json.dumps(value, separators=(",", ":"))):
            raise Unsupported(f"secrets inside of configuration objects ({key})")
        return text
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise EngineError(f"could not read {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise EngineError(f"could not unmarshal {path}: it is not YAML") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise EngineError(f"could not unmarshal {path}: it is no mapping")
    return data
