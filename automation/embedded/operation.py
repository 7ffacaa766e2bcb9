"""One `up`, `preview`, `refresh` or `destroy`: lock, state, program, providers, and everything's orderly end."""

from __future__ import annotations

import contextlib
import platform
import sys
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from automation.embedded.arguments import Arguments
from automation.embedded.backend import Stack, not_found
from automation.embedded.deployment import Deployment, Kind
from automation.embedded.display import Display
from automation.embedded.errors import EngineError, OperationFailed, Unsupported
from automation.embedded.events import Events, EventStream
from automation.embedded.journal import Journal
from automation.embedded.plugins import Plugins
from automation.embedded.providers import DYNAMIC
from automation.embedded.secrets import PassphraseSecrets, checked, passphrase
from automation.embedded.sockets import Sockets
from automation.embedded.state import (
    ENGINE_VERSION,
    PROVIDER_PREFIX,
    STACK_TYPE,
    Snapshot,
    deployment_from_json,
    deployment_to_json,
    forget_ciphertexts,
    salt_of,
)
from automation.embedded.values import Properties

if TYPE_CHECKING:
    from automation.embedded.call import Call
    from automation.embedded.monitor import EngineServer, EngineService, Program

PARALLEL = 16
"""Provider calls at a time, without `--parallel`; programs may have four times as many registrations open."""
_MOST_PARALLEL = 64
_TRUE_OR_FALSE = frozenset(
    {
        "PULUMI_DEBUG_COMMANDS", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "PULUMI_DIY_BACKEND_NO_LEGACY_WARNING",
        "PULUMI_SKIP_UPDATE_CHECK", "PULUMI_EXPERIMENTAL", "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER",
        "PULUMI_SKIP_CONFIRMATIONS",
    }
)  # fmt: skip
"""Variables of the CLI whose value the history names; of all others it says that they are set."""
_VALUE_FLAGS = ("client", "exec-kind", "exec-agent", "event-log", "parallel", "message", "stack", "color")


def run_operation(call: Call, arguments: Arguments, kind: str, cancelled: threading.Event) -> None:
    """Carry out the operation; one that ends with errors, which are in its output, raises `OperationFailed`."""
    preview = kind == "preview" or arguments.flag("preview-only")
    if arguments.flag("run-program"):
        raise Unsupported("the option --run-program")
    if not arguments.flag("yes") and not preview:
        raise EngineError("--yes or --skip-preview must be passed in to proceed when running in non-interactive mode")
    if kind in ("up", "preview") and "client" not in arguments.options:
        raise Unsupported("programs that are no inline program of the Automation API")
    stack = call.stack(arguments)
    with contextlib.ExitStack() as held:
        settings = call.settings(stack)
        secrets: PassphraseSecrets | None = None
        if settings.salt:
            secrets = PassphraseSecrets(call.keys, passphrase(call.env), settings.salt)
        if not preview:
            if secrets is None and not stack.exists():
                raise not_found(stack.name)
            held.enter_context(stack.lock().held(call.err))
        deployment = stack.load()
        _Run(call, arguments, kind, stack, deployment, secrets, cancelled, preview=preview).run()
        if arguments.flag("remove") and not preview:
            stack.remove(backups=False)
            settings.delete()
            call.out(f"The resources in the stack have been deleted and the stack '{stack.name}' has been removed.")


class _Run:
    """The parts of one operation."""

    def __init__(
        self,
        call: Call,
        arguments: Arguments,
        kind: str,
        stack: Stack,
        deployment: dict[str, Any],
        secrets: PassphraseSecrets | None,
        cancelled: threading.Event,
        *,
        preview: bool,
    ) -> None:
        self._call = call
        self._arguments = arguments
        self._kind: Kind = "refresh" if kind == "refresh" else "destroy" if kind == "destroy" else "update"
        self._stack = stack
        self._preview = preview
        self._cancelled = cancelled
        self._saved = deployment
        self._secrets = secrets
        self._parallel = min(max(arguments.number("parallel", PARALLEL), 1), _MOST_PARALLEL)
        self._stream: EventStream | None = None
        self._server: EngineServer | None = None
        self._program: Program | None = None
        self._ready: Future[Deployment] = Future()
        self._start_time = time.time()

    def run(self) -> None:
        self._sockets = Sockets(str(self._call.project.folder))
        plugins = Plugins(
            self._call.env, str(self._call.project.folder), self._sockets, self._engine_address, self._log
        )
        try:
            # The provider's process needs a fifth of a second to start: it starts beside everything that follows.
            if any(data.get("type") == PROVIDER_PREFIX + DYNAMIC for data in self._saved.get("resources") or ()):
                plugins.start(DYNAMIC)
            self._run(plugins)
        finally:
            plugins.close()
            if self._program is not None:
                if self._ready.cancel():
                    self._program.turned_away()
                self._program.close()
            if self._server is not None:
                self._server.stop()
            if self._stream is not None:
                self._stream.close()
            self._sockets.close()

    def _run(self, plugins: Plugins) -> None:
        call, stack = self._call, self._stack
        settings = call.settings(stack)
        if self._secrets is None:
            self._secrets = PassphraseSecrets(call.keys, passphrase(call.env), salt_of(self._saved))
        if log := self._arguments.options.get("event-log"):
            if not log.startswith("tcp://"):
                raise Unsupported("event logs that are files")
            self._stream = EventStream(log)
        display = Display(self._kind, stack.name, call.out, preview=self._preview)
        self.events = events = Events([display, *([self._stream] if self._stream else [])])
        if self._kind == "update" and not settings.has_secrets:
            # The key takes an eighth of a second: the program's runtime starts meanwhile.
            self._start_program(settings.values(None))
        crypter = checked(self._secrets).crypter
        decrypt = crypter.decrypt
        if (state_salt := salt_of(self._saved)) and state_salt != self._secrets.salt:
            # The settings were made anew: the state is still written with its own salt, and goes over to the settings'.
            decrypt = checked(PassphraseSecrets(call.keys, passphrase(call.env), state_salt)).crypter.decrypt
        base = deployment_from_json(self._saved, decrypt)
        if state_salt and state_salt != self._secrets.salt:
            forget_ciphertexts(base)
        base.salt = self._secrets.salt
        config = settings.values(crypter)
        if self._arguments.flag("clear-pending-creates"):
            base.pending = [pending for pending in base.pending if pending.kind != "creating"]

        events.hide(config)
        for resource in base.resources:
            events.hide(resource.inputs)
            events.hide(resource.outputs)
        journal = Journal(base, None if self._preview else lambda snapshot: self._encode(snapshot, crypter.encrypt))
        deployment = Deployment(
            stack=stack.name, project=stack.project, kind=self._kind, preview=self._preview, base=base, config=config,
            journal=journal, events=events, plugins=plugins, parallel=self._parallel, cancelled=self._cancelled,
        )  # fmt: skip
        display.root = deployment.root
        events.prelude(config)
        old_outputs = next((r.outputs for r in base.resources if r.type == STACK_TYPE and not r.delete), None)
        _warn_of_pending(events, base, self._kind, preview=self._preview)
        try:
            self._carry_out(deployment, config)
            journal.close()
        except EngineError as error:
            deployment.fail(str(error))
        if deployment.step_failed:
            events.diagnostic("error", f"{'preview' if self._preview else 'update'} failed")
        elif self._cancelled.is_set() and not deployment.failed:
            deployment.fail("update canceled")
        seconds = time.time() - self._start_time
        events.summary(deployment.changes, seconds, preview=self._preview, succeeded=not deployment.failed)
        events.end()
        outputs = deployment.outputs if self._kind == "update" else old_outputs if self._kind == "refresh" else None
        if self._arguments.flag("suppress-outputs"):
            outputs = None
        display.finish(deployment.changes, old_outputs, outputs, seconds)
        if not self._preview:
            self._add_history(settings.raw, deployment)
        if deployment.failed:
            raise OperationFailed
        if self._kind == "destroy" and not self._preview and not self._arguments.flag("remove"):
            call.out(
                "\nThe resources in the stack have been deleted, but the history and configuration associated with "
                "the stack are still maintained.\nIf you want to remove the stack completely, run "
                f"`pulumi stack rm {stack.name}`."
            )

    def _carry_out(self, deployment: Deployment, config: Properties) -> None:
        if self._kind == "refresh":
            deployment.refresh()
        elif self._kind == "destroy":
            deployment.destroy()
        else:
            self._run_program(deployment, config)
            deployment.finish_update()

    def _start_program(self, config: Properties) -> None:
        from automation.embedded.monitor import EngineService, MonitorService, Program, deployment_info

        info = deployment_info(
            self._stack.project, self._stack.name, config, preview=self._preview, parallel=self._parallel
        )
        root = str(self._call.project.folder)
        self._server = self._engine_server(EngineService(self.events, self._ready), self._parallel * 4 + 8)
        self._server.add_monitor(MonitorService(self._ready, info, root))
        self._server.start()
        self._program = Program(self._arguments.options["client"], self._server.address, info, self._call.cwd)

    def _run_program(self, deployment: Deployment, config: Properties) -> None:
        if self._program is None:
            self._start_program(config)
        assert self._program is not None
        self._ready.set_result(deployment)
        error = self._program.result(deployment.wait)
        deployment.wait_idle()
        if error and not deployment.stopping:
            # The program's own words were logged already.
            deployment.fail(f"an error occurred while running the program: {error.splitlines()[0]}")

    def _engine_address(self) -> str:
        from automation.embedded.monitor import EngineService

        if self._server is None:
            self._server = self._engine_server(EngineService(self.events), threads=8)
            self._server.start()
        return self._server.address

    def _engine_server(self, service: EngineService, threads: int) -> EngineServer:
        from automation.embedded.monitor import EngineServer

        return EngineServer(service, self._sockets.address("engine"), threads)

    def _log(self, text: str) -> None:
        """What a plugin writes to its own output."""
        self.events.diagnostic("info", text)

    def _encode(self, snapshot: Snapshot, encrypt: Any) -> Any:
        latest = deployment_to_json(snapshot, encrypt)
        return lambda: self._stack.write(latest)

    def _add_history(self, config: dict[str, Any], deployment: Deployment) -> None:
        entry = {
            "kind": self._kind,
            "startTime": int(self._start_time),
            "message": self._arguments.options.get("message", ""),
            "environment": dict(sorted(self._environment().items())),
            "config": config,
            "version": 0,
            "result": "failed" if deployment.failed else "succeeded",
            "endTime": int(time.time()),
            "resourceChanges": dict(sorted(deployment.changes.items())),
        }
        try:
            self._stack.add_history(entry)
        except EngineError as error:
            if not deployment.failed:
                raise EngineError(f"saving update info: {error}") from error

    def _environment(self) -> dict[str, str]:
        found = {
            "exec.kind": self._arguments.options.get("exec-kind", "cli"),
            "pulumi.arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
            "pulumi.os": sys.platform,
            "pulumi.version": ENGINE_VERSION,
            "stack.environments": "[]",
            "updatePlan": "false",
            "pulumi.flag.non-interactive": "true",
        }
        for name, value in self._call.env.items():
            if name.startswith("PULUMI_"):
                truth = "true" if value.lower() in ("1", "true", "yes") else "false"
                found[f"pulumi.env.{name}"] = truth if name in _TRUE_OR_FALSE else "set"
        for name, value in self._arguments.options.items():
            found[f"pulumi.flag.{name}"] = "set" if name in _VALUE_FLAGS else value
        if self._kind == "update":
            version = ".".join(map(str, sys.version_info[:3]))
            found |= {"runtime.executable": sys.executable, "runtime.name": "client", "runtime.version": version}
        return found


def _warn_of_pending(events: Events, base: Snapshot, kind: Kind, *, preview: bool) -> None:
    if not base.pending or preview or kind == "refresh":
        return
    names = "".join(f"  * {pending.resource.urn}, interrupted while {pending.kind}\n" for pending in base.pending)
    events.diagnostic(
        "warning",
        f"Attempting to deploy or update resources with {len(base.pending)} pending operations from previous "
        f"deployment.\n{names}These resources are in an unknown state because the engine was interrupted while waiting "
        "for changes to these resources to complete. `refresh` reads their state from the provider and clears pending "
        "updates and deletes; pending creates are cleared with --clear-pending-creates.",
    )
