"""`EmbeddedPulumi`: answers in process what the Automation API asks the `pulumi` CLI."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pulumi.automation import CommandResult, PulumiCommand
from pulumi.automation.errors import create_command_error
from semver import VersionInfo

from automation.embedded.arguments import Arguments, parse
from automation.embedded.backend import Backend, Stack, not_found, outputs_of
from automation.embedded.call import Call, Lines, OnLine
from automation.embedded.errors import EngineError, OperationFailed, Unsupported
from automation.embedded.locks import remove_locks
from automation.embedded.secrets import PROVIDER, Keys, PassphraseSecrets, checked, passphrase
from automation.embedded.settings import StackSettings
from automation.embedded.state import (
    ENGINE_VERSION,
    STACK_TYPE,
    Snapshot,
    deployment_from_json,
    deployment_to_json,
    forget_ciphertexts,
    now,
    salt_of,
)
from automation.embedded.values import Secret, masked, plain
from automation.processes import account


class EmbeddedPulumi(PulumiCommand):
    """A Pulumi engine for the Automation API (`LocalWorkspaceOptions(pulumi_command=EmbeddedPulumi())`).

    It takes all settings as the CLI does: from the workspace's environment variables over those of this process. One
    instance may serve many stacks and threads; it keeps keys and store clients, so that each is made once.
    """

    def __init__(self) -> None:
        # PulumiCommand.__init__ runs `pulumi version`.
        self.command = "embedded"
        self.version = VersionInfo.parse(ENGINE_VERSION.removeprefix("v"))
        self._keys = Keys()
        self._selected: dict[str, str] = {}
        self._running: set[threading.Event] = set()
        self._lock = threading.Lock()

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: OnLine | None = None,
        on_error: OnLine | None = None,
    ) -> CommandResult:
        """Carry out one command line; failures are the `CommandError` that the CLI's output would stand for."""
        env = {**os.environ, **additional_env, "PULUMI_AUTOMATION_API": "true"}
        call = Call(cwd, env, Lines(on_output), Lines(on_error), self._keys, self._selected, self._operation)
        try:
            code = _run(call, list(args))
        except EngineError as error:
            code = error.code
            if not isinstance(error, OperationFailed):
                for line in f"error: {error}".split("\n"):
                    call.err(line)
        result = CommandResult(stdout=call.out.text, stderr=call.err.text, code=code)
        call.out.raise_callback_error()
        call.err.raise_callback_error()
        if code != 0:
            raise create_command_error(result)
        return result

    def prepare(self, phrase: str, salt: str) -> None:
        """Begin to derive the key of a stack with this salt line, which takes a while; a command that comes
        later finds it."""
        PassphraseSecrets(self._keys, phrase, salt)

    def cancel_running(self) -> None:
        """Let running steps finish and begin no new ones; operations then end as failed, lock and state in order."""
        with self._lock:
            for cancelled in self._running:
                cancelled.set()

    def _operation(self, call: Call, arguments: Arguments, kind: str) -> None:
        with contextlib.suppress(EngineError):  # which the operation will come upon in its turn
            self._begin_to_derive(call, arguments)
        from automation.embedded.operation import run_operation

        cancelled = threading.Event()
        with self._lock:
            self._running.add(cancelled)
        try:
            run_operation(call, arguments, kind, cancelled)
        finally:
            with self._lock:
                self._running.discard(cancelled)

    def _begin_to_derive(self, call: Call, arguments: Arguments) -> None:
        if salt := call.settings(call.stack(arguments)).salt:
            self.prepare(passphrase(call.env), salt)


# ---- commands


def _run(call: Call, args: list[str]) -> int:
    bare = [arg for arg in args if arg != "--non-interactive" or args.index(arg) > _separator(args)]
    for length in (3, 2, 1):
        words = tuple(bare[:length])
        if words in _COMMANDS:
            handler, known = _COMMANDS[words]
            handler(call, parse(bare[length:], known))
            return 0
    raise Unsupported(f"the command `pulumi {' '.join(word for word in bare[:2] if not word.startswith('-'))}`")


def _separator(args: list[str]) -> int:
    return args.index("--") if "--" in args else len(args)


def _version(call: Call, arguments: Arguments) -> None:  # noqa: ARG001
    call.out(ENGINE_VERSION)


def _whoami(call: Call, arguments: Arguments) -> None:
    user = account()
    call.out(
        json.dumps({"user": user, "url": call.env.get("PULUMI_BACKEND_URL", "")}) if arguments.flag("json") else user
    )


def _stack_init(call: Call, arguments: Arguments) -> None:
    provider = arguments.options.get("secrets-provider", PROVIDER)
    if provider not in (PROVIDER, "default"):
        raise Unsupported(f"the secrets provider {provider.partition('://')[0]}://: it needs the pulumi CLI")
    stack = call.backend.stack(_one(arguments, "stack"))
    settings = call.settings(stack)
    secrets = PassphraseSecrets(call.keys, passphrase(call.env), settings.salt)
    call.backend.prepare()
    with stack.lock().held(call.err):
        if stack.exists():
            raise EngineError(f"stack '{stack.full_name}' already exists")
        checked(secrets)
        if settings.salt is None:
            settings.salt = secrets.salt
            settings.save()
        stack.write(deployment_to_json(Snapshot(salt=secrets.salt, time=now()), None))
    call.selected[call.cwd] = stack.name
    call.err(f"Created stack '{stack.name}'")


def _stack_select(call: Call, arguments: Arguments) -> None:
    name = arguments.options.get("stack") or _one(arguments, "stack")
    stack = call.backend.stack(name)
    if not stack.exists():
        raise not_found(stack.name)
    call.selected[call.cwd] = stack.name


def _stack_ls(call: Call, arguments: Arguments) -> None:
    everything = arguments.flag("all")
    project = "" if everything and "project" not in arguments.options else call.project.name
    backend = Backend(call.store, arguments.options.get("project", project))
    selected = call.selected.get(call.cwd)
    rows: list[dict[str, Any]] = []
    for summary in backend.list(everything=everything):
        mine = not project or summary.project == call.project.name
        row: dict[str, Any] = {
            "name": summary.name if mine and project else f"organization/{summary.project}/{summary.name}",
            "current": mine and summary.name == selected,
        }
        if summary.last_update:
            row["lastUpdate"] = _milliseconds(summary.last_update)
        rows.append(row | {"resourceCount": summary.resource_count})
    if arguments.flag("json"):
        call.out(_json(rows))
        return
    call.out(f"{'NAME':<40}  {'LAST UPDATE':<24}  RESOURCE COUNT")
    for row in rows:
        name = row["name"] + ("*" if row["current"] else "")
        call.out(f"{name:<40}  {row.get('lastUpdate', 'n/a'):<24}  {row['resourceCount']}")


def _stack_rm(call: Call, arguments: Arguments) -> None:
    name = arguments.words[0] if arguments.words else None
    stack = call.backend.stack(name) if name else call.stack(arguments)
    if not arguments.flag("yes"):
        raise EngineError("non-interactive mode requires --yes flag")
    if not stack.exists():
        raise not_found(stack.name)
    with stack.lock().held(call.err):
        resources = stack.load().get("resources") or []
        only_root = len(resources) == 1 and resources[0].get("type") == STACK_TYPE
        if resources and not only_root and not arguments.flag("force"):
            raise EngineError(
                f"'{stack.name}' still has resources; removal rejected. Possible actions:\n"
                f"- Make sure that '{stack.name}' is the stack that you want to destroy\n"
                "- Run `pulumi destroy` to delete the resources, then run `pulumi stack rm`\n"
                "- Run `pulumi stack rm --force` to override this error"
            )
        stack.remove(backups=arguments.flag("remove-backups"))
    if not arguments.flag("preserve-config"):
        call.settings(stack).delete()
    if call.selected.get(call.cwd) == stack.name:
        del call.selected[call.cwd]
    call.out(f"Stack '{stack.name}' has been removed!")


def _stack_output(call: Call, arguments: Arguments) -> None:
    stack = call.stack(arguments)
    deployment = stack.load()
    decrypt = _lazy_decrypt(call, stack, deployment)
    outputs = outputs_of(deployment, decrypt if arguments.flag("show-secrets") else lambda _: "null")
    shown = {
        key: plain(value)
        if arguments.flag("show-secrets")
        else "[secret]"
        if isinstance(value, Secret)
        else masked(value)
        for key, value in sorted(outputs.items())
    }
    if arguments.words:
        key = arguments.words[0]
        if key not in shown:
            raise EngineError(f"current stack does not have output property '{key}'")
        value = shown[key]
        call.out(_json(value) if arguments.flag("json") or not isinstance(value, str) else value)
    elif arguments.flag("json"):
        call.out(_json(shown))
    else:
        call.out(f"Current stack outputs ({len(shown)}):")
        for key, value in shown.items():
            call.out(f"    {key}  {value if isinstance(value, str) else json.dumps(value)}")


def _stack_history(call: Call, arguments: Arguments) -> None:
    if not arguments.flag("json"):
        raise Unsupported("`pulumi stack history` without --json")
    stack = call.stack(arguments)
    entries = stack.history(arguments.number("page-size", 10), arguments.number("page", 1))
    if not entries and not stack.exists():
        raise not_found(stack.name)
    secret = any(isinstance(value, dict) for entry in entries for value in (entry.get("config") or {}).values())
    decrypt = None
    if secret and arguments.flag("show-secrets"):
        decrypt = _lazy_decrypt(call, stack, {} if call.settings(stack).salt else stack.load())
    call.out(_json([_history_entry(entry, decrypt) for entry in entries]))


def _history_entry(entry: Mapping[str, Any], decrypt: Callable[[str], str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "version": entry.get("version", 0),
        "kind": entry["kind"],
        "startTime": _instant(entry["startTime"]),
        "message": entry.get("message", ""),
        "environment": entry.get("environment") or {},
    }
    config: dict[str, dict[str, Any]] = {}
    for key, value in (entry.get("config") or {}).items():
        if isinstance(value, dict) and "secure" in value:
            config[key] = {"secret": True}
            # Entries of a work folder that is gone may have been encrypted with another salt.
            with contextlib.suppress(EngineError):
                if decrypt:
                    config[key] = {"value": decrypt(value["secure"]), "secret": True}
        else:
            text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
            config[key] = {"value": text, "secret": False}
    found["config"] = config
    found["result"] = entry.get("result", "")
    if found["result"] != "in-progress":
        found["endTime"] = _instant(entry["endTime"])
        if entry.get("resourceChanges") is not None:
            found["resourceChanges"] = entry["resourceChanges"]
    return found


def _stack_export(call: Call, arguments: Arguments) -> None:
    stack = call.stack(arguments)
    deployment = stack.load()
    if arguments.flag("show-secrets"):
        secrets = checked(call.secrets(call.settings(stack), deployment))
        snapshot = deployment_from_json(deployment, secrets.crypter.decrypt)
        shown = {**deployment, **{k: v for k, v in deployment_to_json(snapshot, None).items() if k in _WITH_SECRETS}}
    else:
        shown = deployment
    text = json.dumps({"version": 3, "deployment": shown}, indent=4, ensure_ascii=False)
    if path := arguments.options.get("file"):
        file = Path(call.cwd, path)
        file.touch(mode=0o600)
        file.write_text(text)
    else:
        call.out(text)


_WITH_SECRETS = ("resources", "pending_operations")


def _stack_import(call: Call, arguments: Arguments) -> None:
    path = arguments.options.get("file")
    if not path:
        raise EngineError("`pulumi stack import` needs --file: a command of the Automation API has no standard input")
    stack = call.stack(arguments)
    current = stack.load()
    try:
        given = json.loads(Path(call.cwd, path).read_text())
        version, deployment = given["version"], given["deployment"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError(f"could not deserialize deployment: {path} holds no exported stack") from error
    if version != 3:
        raise EngineError(f"the deployment in {path} has version {version}: only version 3 is understood")
    for resource in deployment.get("resources") or ():
        if f"::{call.project.name}::" not in resource.get("urn", "") and not arguments.flag("force"):
            raise EngineError(
                f"resource '{resource.get('urn')}' is of another project than {call.project.name}: use --force"
            )
    secrets = checked(call.secrets(call.settings(stack), current))
    # What was exported with other secrets is encrypted with this stack's own from now on.
    source = PassphraseSecrets(call.keys, passphrase(call.env), salt_of(deployment) or secrets.salt)
    snapshot = deployment_from_json(deployment, checked(source).crypter.decrypt)
    snapshot.salt = secrets.salt
    snapshot.time = snapshot.time or now()
    if source.salt != secrets.salt:
        forget_ciphertexts(snapshot)
    with stack.lock().held(call.err):
        stack.write(deployment_to_json(snapshot, secrets.crypter.encrypt))
    call.out("Import complete.")


def _tag_ls(call: Call, arguments: Arguments) -> None:
    tags = _existing(call, arguments).tags()
    call.out(_json(tags) if arguments.flag("json") else "\n".join(f"{key}  {value}" for key, value in tags.items()))


def _tag_get(call: Call, arguments: Arguments) -> None:
    stack = _existing(call, arguments)
    key = _one(arguments, "tag")
    tags = stack.tags()
    if key not in tags:
        raise EngineError(f"stack tag '{key}' not found for stack '{stack.name}'")
    call.out(tags[key])


def _tag_set(call: Call, arguments: Arguments) -> None:
    if len(arguments.words) != 2:
        raise EngineError(f"accepts 2 arg(s), received {len(arguments.words)}")
    stack = _existing(call, arguments)
    stack.set_tags({**stack.tags(), arguments.words[0]: arguments.words[1]})


def _tag_rm(call: Call, arguments: Arguments) -> None:
    stack = _existing(call, arguments)
    tags = stack.tags()
    tags.pop(_one(arguments, "tag"), None)
    stack.set_tags(tags)


def _config_all(call: Call, arguments: Arguments) -> None:
    if arguments.words:
        raise Unsupported(f"the command `pulumi config {arguments.words[0]}`")
    if not arguments.flag("json"):
        raise Unsupported("`pulumi config` without --json")
    stack = call.stack(arguments)
    settings = call.settings(stack)
    show = arguments.flag("show-secrets")
    crypter = checked(_config_secrets(call, stack, settings)).crypter if show and settings.has_secrets else None
    call.out(_json({key: _config_value(value, show=show) for key, value in settings.values(crypter).items()}))


def _config_value(value: Any, *, show: bool) -> dict[str, Any]:
    if not isinstance(value, Secret):
        return {"value": value, "secret": False}
    return {"value": value.value, "secret": True} if show else {"secret": True}


def _config_get(call: Call, arguments: Arguments) -> None:
    stack = call.stack(arguments)
    settings = call.settings(stack)
    key = _one(arguments, "key")
    if settings.full_key(key) not in settings.raw:
        raise EngineError(f"configuration key '{key}' not found for stack '{stack.name}'")
    secret = isinstance(settings.raw[settings.full_key(key)], dict)
    crypter = checked(_config_secrets(call, stack, settings)).crypter if secret else None
    value = settings.values(crypter)[settings.full_key(key)]
    call.out(_json(_config_value(value, show=True)) if arguments.flag("json") else str(plain(value)))


def _config_set(call: Call, arguments: Arguments) -> None:
    if len(arguments.words) != 2:
        raise EngineError(
            "`pulumi config set` needs a key and a value: a command of the Automation API has no standard input"
        )
    _set_all(call, arguments, [("secret" if arguments.flag("secret") else "plaintext", "=".join(arguments.words))])


def _config_set_all(call: Call, arguments: Arguments) -> None:
    items = [(name, text) for name, text in arguments.repeated if name in ("secret", "plaintext")]
    _set_all(call, arguments, items)


def _set_all(call: Call, arguments: Arguments, items: list[tuple[str, str]]) -> None:
    stack = call.stack(arguments)
    settings = call.settings(stack)
    crypter = None
    if any(kind == "secret" for kind, _ in items):
        secrets = checked(_config_secrets(call, stack, settings))
        crypter = secrets.crypter
        settings.salt = secrets.salt
    for kind, text in items:
        key, equals, value = text.partition("=")
        if not equals:
            raise EngineError(f"config value for key {key!r} must be given as KEY=VALUE")
        settings.set(key, value, crypter if kind == "secret" else None)
    settings.save()


def _config_rm(call: Call, arguments: Arguments) -> None:
    settings = call.settings(call.stack(arguments))
    for key in arguments.words:
        settings.remove(key)
    settings.save()


def _config_secrets(call: Call, stack: Stack, settings: StackSettings) -> PassphraseSecrets:
    return call.secrets(settings, {} if settings.salt else stack.load())


def _cancel(call: Call, arguments: Arguments) -> None:
    stack = call.backend.stack(arguments.words[0]) if arguments.words else call.stack(arguments)
    if not stack.exists():
        raise not_found(stack.name)
    remove_locks(call.store, stack.project, stack.name)
    call.out(f"The currently running update for '{stack.name}' has been canceled!")


def _operation(kind: str) -> Callable[[Call, Arguments], None]:
    def handle(call: Call, arguments: Arguments) -> None:
        call.operation(call, arguments, kind)

    return handle


def _existing(call: Call, arguments: Arguments) -> Stack:
    stack = call.stack(arguments)
    if not stack.exists():
        raise not_found(stack.name)
    return stack


def _lazy_decrypt(call: Call, stack: Stack, deployment: Mapping[str, Any]) -> Callable[[str], str]:
    secrets: list[PassphraseSecrets] = []

    def decrypt(text: str) -> str:
        if not secrets:
            secrets.append(checked(call.secrets(call.settings(stack), deployment)))
        return secrets[0].crypter.decrypt(text)

    return decrypt


def _one(arguments: Arguments, what: str) -> str:
    if len(arguments.words) != 1:
        raise EngineError(f"give the name of one {what}; {len(arguments.words)} were given")
    return arguments.words[0]


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _milliseconds(timestamp: str) -> str:
    """Go's nanoseconds and zone as the CLI shows them: milliseconds, UTC."""
    whole, _, rest = timestamp.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :] or whole[19:]
    instant = datetime.fromisoformat(whole[:19] + (zone or "Z")).astimezone(UTC)
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{digits[:3].ljust(3, '0')}Z"


_OPERATION = {
    "yes": False, "skip-preview": False, "client": True, "exec-kind": True, "exec-agent": True, "event-log": True,
    "parallel": True, "message": True, "suppress-outputs": False, "suppress-progress": False, "run-program": False,
    "suppress-permalink": False,
}  # fmt: skip
_COMMANDS: dict[tuple[str, ...], tuple[Callable[[Call, Arguments], None], dict[str, bool]]] = {
    ("version",): (_version, {}),
    ("whoami",): (_whoami, {"json": False}),
    ("stack", "init"): (_stack_init, {"secrets-provider": True, "no-select": False}),
    ("stack", "select"): (_stack_select, {}),
    ("stack", "ls"): (_stack_ls, {"json": False, "all": False, "project": True}),
    ("stack", "rm"): (_stack_rm, {"yes": False, "force": False, "preserve-config": False, "remove-backups": False}),
    ("stack", "output"): (_stack_output, {"json": False, "show-secrets": False}),
    ("stack", "history"): (_stack_history, {"json": False, "show-secrets": False, "page-size": True, "page": True}),
    ("stack", "export"): (_stack_export, {"show-secrets": False, "file": True}),
    ("stack", "import"): (_stack_import, {"file": True, "force": False}),
    ("stack", "tag", "ls"): (_tag_ls, {"json": False}),
    ("stack", "tag", "get"): (_tag_get, {}),
    ("stack", "tag", "set"): (_tag_set, {}),
    ("stack", "tag", "rm"): (_tag_rm, {}),
    ("config",): (_config_all, {"json": False, "show-secrets": False}),
    ("config", "get"): (_config_get, {"json": False}),
    ("config", "set"): (_config_set, {"secret": False, "plaintext": False}),
    ("config", "set-all"): (_config_set_all, {"secret": True, "plaintext": True}),
    ("config", "rm"): (_config_rm, {}),
    ("config", "rm-all"): (_config_rm, {}),
    ("cancel",): (_cancel, {"yes": False}),
    ("up",): (_operation("up"), _OPERATION),
    ("preview",): (_operation("preview"), _OPERATION),
    ("refresh",): (_operation("refresh"), {**_OPERATION, "preview-only": False, "clear-pending-creates": False}),
    ("destroy",): (_operation("destroy"), {**_OPERATION, "preview-only": False, "remove": False}),
}
"""Commands with the options that they take here, and whether these take a value."""
