"""Carries out an operation: brings each resource from the state there is to what the program registers.

Every registration runs in the thread that brought it (the monitor's); `parallel` bounds the provider calls at a time.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from automation.embedded.errors import EngineError
from automation.embedded.events import Events
from automation.embedded.journal import Journal
from automation.embedded.plugin_provider import PluginProvider
from automation.embedded.plugins import Plugins
from automation.embedded.providers import DYNAMIC, Diff, Made, PartialFailure, Provider, ProviderError, compared
from automation.embedded.random_password import RandomProvider
from automation.embedded.state import PROVIDER_PREFIX, STACK_TYPE, Resource, Snapshot, deletion_order, now
from automation.embedded.steps import (
    Action,
    decide,
    dependents_to_replace,
    ignoring,
    must_write,
    with_replace_on_changes,
)
from automation.embedded.values import (
    UNKNOWN,
    Properties,
    Secret,
    equal,
    has_unknown,
    keep_ciphertexts,
    plain,
)

Kind = Literal["update", "refresh", "destroy"]
UNKNOWN_ID = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""Id of a provider that a preview would make."""
_INTERNAL = "__internal"


class Stopped(Exception):
    """No new step is begun: a step failed, or the operation was cancelled."""


@dataclass(slots=True)
class Goal:
    """What the program wants of one resource."""

    type: str
    name: str
    custom: bool
    inputs: Properties
    parent: str = ""
    provider: str = ""
    """Reference of a provider; for a custom resource, none means the package's default provider."""
    version: str = ""
    protect: bool = False
    dependencies: list[str] = field(default_factory=list)
    property_dependencies: dict[str, list[str]] = field(default_factory=dict)
    delete_before_replace: bool | None = None
    ignore_changes: list[str] = field(default_factory=list)
    replace_on_changes: list[str] = field(default_factory=list)
    additional_secret_outputs: list[str] = field(default_factory=list)
    custom_timeouts: dict[str, float] = field(default_factory=dict)
    retain_on_delete: bool = False
    deleted_with: str = ""
    """URN of a resource whose deletion takes this one along."""
    source_position: str = ""
    stack_trace: list[str] = field(default_factory=list)


class Deployment:
    """One operation on one stack."""

    def __init__(
        self,
        *,
        stack: str,
        project: str,
        kind: Kind,
        preview: bool,
        base: Snapshot,
        config: Properties,
        journal: Journal,
        events: Events,
        plugins: Plugins,
        parallel: int,
        cancelled: threading.Event,
    ) -> None:
        self._stack = stack
        self._project = project
        self._kind = kind
        self._preview = preview
        self._base = base
        self._config = config
        self._journal = journal
        self._events = events
        self._plugins = plugins
        self._parallel = parallel
        self._slots = threading.BoundedSemaphore(parallel)
        self._cancelled = cancelled
        self._failed = threading.Event()
        self.step_failed = False
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._active = 0
        self._olds = {resource.urn: resource for resource in base.resources if not resource.delete}
        self._registered: dict[str, tuple[str, Resource | None, Resource]] = {}
        """By URN: what was done, the old state and the new one."""
        self._urns: set[str] = set()
        self._doomed: set[str] = set()
        """URNs of what this operation deletes, from when that is known."""
        self._gone: set[str] = set()
        """URNs that were deleted for the sake of what they depend on."""
        self._providers: dict[str, Provider] = {}
        self._defaults: dict[str, Future[str]] = {}
        self._stack_outputs: Properties | None = None
        self.changes: dict[str, int] = {}

    # ---- for the outside

    @property
    def failed(self) -> bool:
        return self._failed.is_set()

    @property
    def stopping(self) -> bool:
        return self._failed.is_set() or self._cancelled.is_set()

    @property
    def root(self) -> str:
        return self.urn("", STACK_TYPE, f"{self._project}-{self._stack}")

    @property
    def outputs(self) -> Properties | None:
        """The stack's new outputs; None when the program did not get as far."""
        return self._stack_outputs

    def fail(self, message: str, urn: str = "") -> None:
        """Report an error and begin no new step."""
        self._events.diagnostic("error", message, urn)
        self._failed.set()

    def urn(self, parent: str, type_: str, name: str) -> str:
        """`urn:pulumi:STACK::PROJECT::PARENT-TYPES$TYPE::NAME`."""
        above = parent.split("::")[2] if parent else ""
        qualified = f"{above}${type_}" if above and above != STACK_TYPE else type_
        return f"urn:pulumi:{self._stack}::{self._project}::{qualified}::{name}"

    def wait(self, future: Any) -> Any:
        """The future's result. The first Ctrl-C meanwhile cancels in order, a second one ends at once."""
        while True:
            try:
                return future.result()
            except KeyboardInterrupt:
                if self._cancelled.is_set():
                    raise
                self._cancelled.set()

    def wait_idle(self) -> None:
        """Wait until every registration that was begun has ended."""
        with self._idle:
            self._idle.wait_for(lambda: self._active == 0)

    # ---- what the program asks for

    def register(self, goal: Goal) -> Resource:
        """Bring one resource to its goal; raises `Stopped` when that failed or is not begun any more."""
        with self._working():
            urn = self._claim(goal)
            if goal.parent and goal.parent not in self._registered:
                self.fail(f"could not find parent resource {goal.parent}", urn)
                raise Stopped
            if goal.custom and not goal.type.startswith(PROVIDER_PREFIX) and not goal.provider:
                goal.provider = self._default_provider(goal.type.partition(":")[0], goal.version)
            new = Resource(
                urn=urn, custom=goal.custom, type=goal.type, inputs=goal.inputs, parent=goal.parent,
                protect=goal.protect, dependencies=goal.dependencies, provider=goal.provider,
                property_dependencies=goal.property_dependencies, custom_timeouts=goal.custom_timeouts,
                additional_secret_outputs=goal.additional_secret_outputs, retain_on_delete=goal.retain_on_delete,
                deleted_with=goal.deleted_with,
                source_position=goal.source_position, stack_trace=goal.stack_trace,
                ignore_changes=goal.ignore_changes, replace_on_changes=goal.replace_on_changes,
            )  # fmt: skip
            self._events.hide(goal.inputs)
            old = self._olds.get(urn)
            if old is not None:
                new.created, new.modified = old.created, old.modified
            try:
                if new.is_provider:
                    self._register_provider(new, old)
                elif goal.custom:
                    self._register_custom(goal, new, old)
                else:
                    self._register_component(new, old)
            except ProviderError as error:
                self.fail(str(error), urn)
                raise Stopped from error
            except EngineError as error:
                self.fail(str(error), urn)
                raise Stopped from error
            return new

    def register_outputs(self, urn: str, outputs: Properties) -> None:
        """The outputs of a component, or of the stack (these are written when everything else is done)."""
        with self._working():
            if urn not in self._registered:
                self.fail(f"cannot complete a resource '{urn}' whose registration isn't pending", urn)
                raise Stopped
            op, old, new = self._registered[urn]
            self._events.hide(outputs)
            if new.type == STACK_TYPE:
                self._stack_outputs = outputs
            else:
                self._set_outputs(op, old, new, outputs)

    def _set_outputs(self, op: str, old: Resource | None, new: Resource, outputs: Properties) -> None:
        before = (old.outputs if old else None) or {}
        keep_ciphertexts(outputs, before)

        def change() -> None:
            new.outputs = outputs

        self._journal.note(change, write=not equal(before, outputs))
        self._events.step("resOutputsEvent", op, old, new, planning=self._preview)

    # ---- the ends of operations

    def finish_update(self) -> None:
        """After the program: delete what it did not register, and set the stack's outputs."""
        if not self.stopping:
            left = []
            for old in self._base.resources:
                if old.pending_replacement and old.urn not in self._registered:
                    self._journal.note(lambda old=old: self._journal.drop(old), write=True)  # type: ignore[misc]
                elif old.delete or old.urn not in self._registered:
                    left.append(old)
            self._delete_all(left)
        self._finish_outputs()

    def destroy(self) -> None:
        self._delete_all(self._base.resources)

    def refresh(self) -> None:
        """Read every resource, and take over what the providers say."""
        found: dict[int, Resource | None] = {}
        with ThreadPoolExecutor(self._parallel) as pool:
            reads = [(old, pool.submit(self._refresh_one, old)) for old in self._base.resources]
            for old, read in reads:
                found[id(old)] = self.wait(read)
        if self.stopping:
            return
        resources = [resource for resource in found.values() if resource is not None]
        _drop_dangling(resources)
        self._journal.note(lambda: self._journal.replace_base(resources), write=True)

    def _finish_outputs(self) -> None:
        if self._stack_outputs is None:
            return
        op, old, new = self._registered[self.root]
        outputs = self._stack_outputs
        if self.stopping:
            # What a failed program did not export may still be true.
            outputs = {**((old.outputs if old else None) or {}), **outputs}
        self._set_outputs(op, old, new, outputs)

    # ---- registrations

    def _claim(self, goal: Goal) -> str:
        urn = self.urn(goal.parent, goal.type, goal.name)
        with self._lock:
            if urn not in self._urns:
                self._urns.add(urn)
                return urn
        self.fail(f"Duplicate resource URN '{urn}'; try giving it a unique name", urn)
        raise Stopped

    def _register_component(self, new: Resource, old: Resource | None) -> None:
        if old is None:
            new.created = new.modified = now()
            self._events.step("resourcePreEvent", "create", None, new, planning=self._preview)
            self._journal.note(lambda: self._journal.add(new), write=True)
            self._registered[new.urn] = "create", None, new
            self._count("create", new)
            return
        keep_ciphertexts(new.inputs, old.inputs)
        new.outputs = old.outputs
        op = "same" if equal(old.inputs or {}, new.inputs or {}) else "update"
        self._events.step("resourcePreEvent", op, old, new, planning=self._preview)
        self._journal.note(lambda: self._exchange(old, new), write=must_write(old, new))
        self._registered[new.urn] = op, old, new
        self._count(op, new)

    def _register_custom(self, goal: Goal, new: Resource, old: Resource | None) -> None:
        if old is not None and old.external:
            raise EngineError(f"{new.urn} was only read before: taking over such resources needs the pulumi CLI")
        provider = self._provider(goal.provider)
        before = None if new.urn in self._gone else old
        inputs = ignoring(goal.inputs, before.inputs or {}, goal.ignore_changes) if before else goal.inputs
        self._check(provider, new, before.inputs if before else None, inputs)
        diff = self._diff(provider, goal, before, new) if before else None
        action = decide(before, diff, goal.delete_before_replace)
        if before is not None:
            keep_ciphertexts(new.inputs, before.inputs)
        if action is Action.SAME:
            assert before is not None
            self._same(before, new)
        elif action is Action.UPDATE:
            assert before is not None
            self._update(provider, before, new, diff, goal.ignore_changes)
        elif action is Action.CREATE and old is None:
            self._create("create", provider, None, new, None)
        elif action is Action.CREATE:
            assert old is not None
            self._replaced(old, new, diff)
            self._create("create-replacement", provider, old, new, diff, drop=True)
        else:
            assert before is not None
            self._replace(provider, goal, before, new, diff, first=action is Action.DELETE_BEFORE_REPLACE)

    def _check(self, provider: Provider, new: Resource, olds: Properties | None, inputs: Properties) -> None:
        new.inputs = inputs
        with self._slots:
            self._go_on()
            checked, failures = provider.check(new, olds, inputs, preview=self._preview)
        new.inputs = checked
        self._events.hide(checked)
        if failures:
            for key, reason in failures:
                if key:
                    value = plain_text(checked.get(key, inputs.get(key)))
                    text = f"property {key} value {{{value}}} has a problem: {reason}"
                else:
                    text = f"has a problem: {reason}"
                self._events.diagnostic("error", f"{new.type} resource '{new.name}': {text}", new.urn)
            self._events.step("resOpFailedEvent", "same", None, new, planning=self._preview)
            self._failed.set()
            raise Stopped

    def _diff(self, provider: Provider, goal: Goal, old: Resource, new: Resource) -> Diff:
        assert new.inputs is not None
        if old.taint:
            return Diff(changes=True, replaces=("id",))
        if self._provider_changed(old, new):
            return Diff(changes=True, replaces=("provider",))
        with self._slots:
            self._go_on()
            diff = provider.diff(new, old, new.inputs, goal.ignore_changes, preview=self._preview)
        compared_diff = compared(old.inputs or {}, ignoring(new.inputs, old.inputs or {}, goal.ignore_changes))
        # Only what is known to differ can ask for a replacement: keys that the provider named, or that we compared.
        diff = with_replace_on_changes(diff if diff is not None else compared_diff, goal.replace_on_changes)
        if diff.changes and not diff.keys:
            diff = Diff(True, diff.replaces, compared_diff.keys, diff.delete_before_replace, compared_diff.detailed)
        return diff

    def _provider_changed(self, old: Resource, new: Resource) -> bool:
        if old.provider == new.provider:
            return False
        names = [reference.split("::")[3] for reference in (old.provider, new.provider)]
        # Another version of a default provider goes on with the objects of the one before.
        return not all(name == "default" or name.startswith("default_") for name in names)

    def _same(self, old: Resource, new: Resource) -> None:
        new.id, new.outputs = old.id, old.outputs
        self._events.step("resourcePreEvent", "same", old, new, planning=self._preview)
        self._journal.note(lambda: self._exchange(old, new), write=must_write(old, new))
        self._registered[new.urn] = "same", old, new
        self._events.step("resOutputsEvent", "same", old, new, planning=self._preview)
        self._count("same", new)

    def _create(
        self, op: str, provider: Provider, old: Resource | None, new: Resource, diff: Diff | None, *, drop: bool = False
    ) -> None:
        """Create; of a replacement, `drop` says that the old object is gone already, else it is marked for deletion."""

        def settle() -> None:
            self._journal.add(new)
            if old is not None and drop:
                self._journal.drop(old)
            elif old is not None:
                old.delete = True

        with self._slots:
            self._go_on()
            self._events.step("resourcePreEvent", op, old, new, diff, planning=self._preview)
            self._journal.begin(new, "creating")
            self._carry_out(op, old, new, diff, settle, lambda: provider.create(new, preview=self._preview))
        self._registered[new.urn] = op, old, new
        self._count("create" if op == "create" else "", new)

    def _update(self, provider: Provider, old: Resource, new: Resource, diff: Diff | None, ignore: list[str]) -> None:
        new.id = old.id
        with self._slots:
            self._go_on()
            self._events.step("resourcePreEvent", "update", old, new, diff, planning=self._preview)
            self._journal.begin(new, "updating")
            self._carry_out(
                "update", old, new, diff,
                lambda: self._exchange(old, new),
                lambda: provider.update(new, old, ignore, preview=self._preview),
            )  # fmt: skip
        self._registered[new.urn] = "update", old, new
        self._count("update", new)

    def _carry_out(
        self,
        op: str,
        old: Resource | None,
        new: Resource,
        diff: Diff | None,
        settle: Callable[[], None],
        call: Callable[[], Made],
    ) -> None:
        """Call the provider and put its answer into the state; of a failure, what is known."""
        try:
            made = call()
        except PartialFailure as error:
            self._take(op, new, old, error.made)
            new.init_errors = error.reasons
            self._journal.end(new, settle)
            self._step_failed(op, old, new, diff, error)
        except ProviderError as error:
            self._journal.end(new)
            self._step_failed(op, old, new, diff, error)
        except BaseException:
            # The journal's own failure; what was begun stays written as begun.
            raise
        else:
            self._take(op, new, old, made)
            self._journal.end(new, settle)
            self._events.step("resOutputsEvent", op, old, new, diff, planning=self._preview)

    def _take(self, op: str, new: Resource, old: Resource | None, made: Made) -> None:
        new.id = made.id
        new.outputs = mark_outputs(new, made.outputs)
        keep_ciphertexts(new.outputs, new.inputs)
        if old is not None:
            keep_ciphertexts(new.outputs, old.outputs)
        self._events.hide(new.outputs)
        new.modified = now()
        if op != "update":
            new.created = new.modified

    def _step_failed(
        self, op: str, old: Resource | None, new: Resource, diff: Diff | None, error: ProviderError
    ) -> None:
        self.step_failed = True
        self.fail(str(error), new.urn)
        self._events.step("resOpFailedEvent", op, old, new, diff, planning=self._preview)
        raise Stopped from error

    # ---- replacing

    def _replace(
        self, provider: Provider, goal: Goal, old: Resource, new: Resource, diff: Diff | None, *, first: bool
    ) -> None:
        if new.protect and old.protect:
            self.fail(
                f'unable to replace resource "{new.urn}"\nas it is currently marked for protection. To unprotect the '
                "resource, remove the `protect` flag from the resource in your Pulumi program and run `pulumi up`",
                new.urn,
            )
            raise Stopped
        self._check(provider, new, None, goal.inputs)
        keep_ciphertexts(new.inputs, old.inputs)
        if not first:
            self._create("create-replacement", provider, old, new, diff)
            self._replaced(old, new, diff)
            return
        if not old.pending_replacement:
            for dependent in reversed(self._dependents(old)):
                if dependent.protect:
                    self.fail(
                        f'unable to replace resource "{dependent.urn}" as part of replacing "{old.urn}" as it is '
                        "currently marked for protection",
                        old.urn,
                    )
                    raise Stopped
                self._gone.add(dependent.urn)
                self._delete("delete-replaced", dependent, keep_as_pending=True)
            self._delete("delete-replaced", old, diff, keep_as_pending=True)
        self._replaced(old, new, diff)
        self._create("create-replacement", provider, old, new, diff, drop=True)

    def _replaced(self, old: Resource, new: Resource, diff: Diff | None) -> None:
        self._events.step("resourcePreEvent", "replace", old, new, diff, planning=self._preview)
        self._events.step("resOutputsEvent", "replace", old, new, diff, planning=self._preview)
        self._count("replace", new)

    def _dependents(self, root: Resource) -> list[Resource]:
        def replaced(resource: Resource, keys: set[str]) -> bool:
            provider = self._provider(resource.provider)
            inputs = {key: UNKNOWN if key in keys else value for key, value in (resource.inputs or {}).items()}
            with self._slots:
                diff = provider.diff(resource, resource, inputs, [], preview=True)
            return diff is not None and bool(diff.replaces)

        return dependents_to_replace(root, self._base.resources, replaced)

    # ---- deleting

    def _delete_all(self, resources: list[Resource]) -> None:
        waves = deletion_order(resources)
        self._doomed.update(resource.urn for resource in resources if not resource.delete)
        with ThreadPoolExecutor(self._parallel) as pool:
            for wave in waves:
                if self.stopping:
                    return
                for done in [pool.submit(self._delete_one, resource) for resource in wave]:
                    self.wait(done)

    def _delete_one(self, old: Resource) -> None:
        if self.stopping:
            return
        if old.protect and not old.delete:
            self.fail(
                f'resource "{old.urn}" cannot be deleted\nbecause it is protected. To unprotect the resource, either '
                "remove the `protect` flag from the resource in your Pulumi program and run `pulumi up`, or use the "
                f"command:\n`pulumi state unprotect '{old.urn}'`",
                old.urn,
            )
            return
        try:
            self._delete("delete-replaced" if old.delete else "delete", old)
        except Stopped:
            return
        except EngineError as error:
            self.fail(str(error), old.urn)

    def _delete(self, op: str, old: Resource, diff: Diff | None = None, *, keep_as_pending: bool = False) -> None:
        """Delete the object, unless it is retained. `keep_as_pending`: it stays in the state until it is made again."""

        def settle() -> None:
            if keep_as_pending:
                old.pending_replacement = True
            else:
                self._journal.drop(old)

        real = old.custom and not old.is_provider and not old.external and not old.retain_on_delete
        real = real and old.deleted_with not in self._doomed
        with self._slots:
            self._go_on()
            self._events.step("resourcePreEvent", op, old, None, diff, planning=self._preview)
            if real and not self._preview and not old.pending_replacement:
                self._journal.begin(old, "deleting")
                try:
                    self._provider(old.provider).delete(old)
                except (ProviderError, EngineError) as error:
                    self._journal.end(old)
                    self.step_failed = True
                    self.fail(str(error), old.urn)
                    self._events.step("resOpFailedEvent", op, old, None, diff, planning=self._preview)
                    raise Stopped from error
                self._journal.end(old, settle)
            elif not self._preview:
                self._journal.note(settle, write=True)
            self._events.step("resOutputsEvent", op, old, None, diff, planning=self._preview)
        if op == "delete":
            self._count("delete", old)

    # ---- refreshing

    def _refresh_one(self, old: Resource) -> Resource | None:
        """The resource as it is now, None where it is gone."""
        if self.stopping:
            return old
        self._events.step("resourcePreEvent", "refresh", old, old, planning=self._preview)
        if not old.custom or old.is_provider or old.pending_replacement:
            self._events.step("resOutputsEvent", "same", old, old, planning=self._preview)
            self._count("same", old)
            return old
        try:
            with self._slots:
                provider = self._provider(old.provider)
                new, diff = self._read(provider, old)
        except (ProviderError, EngineError) as error:
            self.fail(str(error), old.urn)
            self._events.step("resOpFailedEvent", "refresh", old, old, planning=self._preview)
            return old
        op = "delete" if new is None else "update" if diff is not None and diff.changes else "same"
        self._events.step("resOutputsEvent", op, old, new, diff, planning=self._preview)
        self._count(op, old)
        return new

    def _read(self, provider: Provider, old: Resource) -> tuple[Resource | None, Diff | None]:
        reasons: list[str] = []
        try:
            made = provider.read(old)
        except PartialFailure as error:
            made, reasons = error.made, error.reasons
            text = "\n* ".join(("Refreshed resource is in an unhealthy state:", *reasons))
            self._events.diagnostic("warning", text, old.urn)
        if not made.id:
            return None, None
        new = old.copy()
        new.id, new.init_errors = made.id, reasons
        if made.inputs is not None:
            new.inputs = made.inputs
            keep_ciphertexts(new.inputs, old.inputs)
        new.outputs = mark_outputs(new, made.outputs)
        keep_ciphertexts(new.outputs, old.outputs)
        self._events.hide(new.outputs)
        if not equal(old.inputs or {}, new.inputs or {}) or not equal(old.outputs or {}, new.outputs or {}):
            new.modified = now()
        # What would the next update do? That is how the difference to the program's wishes is found.
        diff = provider.diff(new, new, old.inputs or {}, old.ignore_changes, preview=self._preview)
        return new, diff if diff is not None else compared(new.inputs or {}, old.inputs or {})

    # ---- providers

    def _default_provider(self, package: str, version: str) -> str:
        """Reference of the package's default provider, which is registered with its first use."""
        name = "default" if not version else "default_" + "".join(c if c.isalnum() else "_" for c in version)
        with self._lock:
            mine = f"{package}/{name}" not in self._defaults
            if mine:
                self._defaults[f"{package}/{name}"] = Future()
            future = self._defaults[f"{package}/{name}"]
        if mine:
            inputs = self._package_config(package)
            if version:
                inputs |= {"version": version, _INTERNAL: {}}
            try:
                new = self.register(Goal(PROVIDER_PREFIX + package, name, custom=True, inputs=inputs))
            except BaseException:
                future.set_exception(Stopped())
                raise
            future.set_result(new.reference)
        return future.result()

    def _package_config(self, package: str) -> Properties:
        if package == DYNAMIC:  # dynamic providers see the whole configuration
            return dict(self._config)
        return {key.partition(":")[2]: value for key, value in self._config.items() if key.partition(":")[0] == package}

    def _register_provider(self, new: Resource, old: Resource | None) -> None:
        package = new.type.removeprefix(PROVIDER_PREFIX)
        news = dict(new.inputs or {})
        version = news.get("version")
        plugin = self._plugin(package, new.urn)
        given = {key: value for key, value in news.items() if key != _INTERNAL}
        checked = plugin.check_config(new, (old.inputs if old else None) or {}, given)
        if version is not None:
            checked.setdefault("version", version)
        if _INTERNAL in news:
            checked[_INTERNAL] = news[_INTERNAL]
        new.inputs = checked
        outputs = {key: value for key, value in checked.items() if key != _INTERNAL}
        if old is None:
            self._make_provider("create", plugin, None, new, outputs)
            return
        keep_ciphertexts(new.inputs, old.inputs)
        keep_ciphertexts(outputs, old.outputs)
        diff = plugin.diff_config(new, old, outputs)
        if diff is None:
            diff = compared(old.outputs or {}, outputs)
        if diff.changes and diff.replaces:
            self._make_provider("create-replacement", plugin, old, new, outputs)
            self._replaced(old, new, diff)
            return
        new.id = old.id
        if diff.changes:
            self._events.step("resourcePreEvent", "update", old, new, diff, planning=self._preview)
            self._configure(plugin, new, outputs)
            new.outputs, new.modified = outputs, now()
            op = "update"
        else:
            # The provider goes on with what it knows: it said that the new inputs are no other.
            self._events.step("resourcePreEvent", "same", old, new, planning=self._preview)
            self._configure(plugin, new, {k: v for k, v in (old.inputs or {}).items() if k != _INTERNAL})
            new.outputs = old.outputs
            op = "same"
        self._journal.note(lambda: self._exchange(old, new), write=must_write(old, new))
        self._registered[new.urn] = op, old, new
        self._events.step("resOutputsEvent", op, old, new, planning=self._preview)
        self._count(op, new)

    def _make_provider(
        self, op: str, plugin: PluginProvider | RandomProvider, old: Resource | None, new: Resource, outputs: Properties
    ) -> None:
        self._events.step("resourcePreEvent", op, old, new, planning=self._preview)
        new.id = UNKNOWN_ID if self._preview else str(uuid.uuid4())
        self._configure(plugin, new, outputs)
        new.outputs = outputs
        new.created = new.modified = now()

        def settle() -> None:
            self._journal.add(new)
            if old is not None:
                old.delete = True

        self._journal.note(settle, write=True)
        self._registered[new.urn] = op, old, new
        self._events.step("resOutputsEvent", op, old, new, planning=self._preview)
        self._count("create" if op == "create" else "", new)

    def _configure(self, plugin: PluginProvider | RandomProvider, new: Resource, inputs: Properties) -> None:
        if has_unknown(inputs):
            raise EngineError(f"the provider {new.name!r} depends on values that are not known in a preview")
        plugin.configure(new, inputs)
        with self._lock:
            self._providers[new.reference] = plugin

    def _provider(self, reference: str) -> Provider:
        """The provider of a reference; one that only the old state has is started with its old configuration."""
        with self._lock:
            if (found := self._providers.get(reference)) is not None:
                return found
            for old in self._base.resources:
                if old.is_provider and old.reference == reference:
                    plugin = self._plugin(old.type.removeprefix(PROVIDER_PREFIX), old.urn)
                    plugin.configure(old, {key: value for key, value in (old.inputs or {}).items() if key != _INTERNAL})
                    self._providers[reference] = plugin
                    return plugin
        raise EngineError(f"the provider {reference} of a resource is not in the state")

    def _plugin(self, package: str, urn: str) -> PluginProvider | RandomProvider:
        if package == "random":
            return RandomProvider(lambda: self._plugins.provider(package, urn))
        return self._plugins.provider(package, urn)

    # ---- small things

    def _exchange(self, old: Resource, new: Resource) -> None:
        self._journal.drop(old)
        self._journal.add(new)

    def _count(self, op: str, resource: Resource) -> None:
        if op and not resource.is_default_provider:
            with self._lock:
                self.changes[op] = self.changes.get(op, 0) + 1

    def _go_on(self) -> None:
        if self.stopping:
            raise Stopped

    @contextmanager
    def _working(self) -> Iterator[None]:
        with self._lock:
            self._go_on()
            self._active += 1
        try:
            yield
        finally:
            with self._idle:
                self._active -= 1
                self._idle.notify_all()


def mark_outputs(resource: Resource, outputs: Properties) -> Properties:
    """The outputs in which everything is secret that the program named so, or that is secret among the inputs."""
    secret = {*resource.additional_secret_outputs} - {"id"}
    secret |= {key for key, value in (resource.inputs or {}).items() if isinstance(value, Secret)}
    return {
        key: Secret(value) if key in secret and not isinstance(value, Secret) else value
        for key, value in outputs.items()
    }


def plain_text(value: object) -> str:
    """A value for an error message: no secret, and short."""
    if isinstance(value, Secret):
        return "[secret]"
    text = str(plain(value) if not isinstance(value, dict | list) else type(value).__name__)
    return text if len(text) <= 200 else text[:200] + "…"


def _drop_dangling(resources: list[Resource]) -> None:
    """Nothing may depend on a resource that a refresh found gone."""
    urns = {resource.urn for resource in resources}
    for resource in resources:
        resource.dependencies = [urn for urn in resource.dependencies if urn in urns]
        left = {key: [urn for urn in depends if urn in urns] for key, depends in resource.property_dependencies.items()}
        # As the CLI does after a refresh: properties that depend on nothing are not named until the next update.
        resource.property_dependencies = {key: depends for key, depends in left.items() if depends}
        if resource.deleted_with not in urns:
            resource.deleted_with = ""
