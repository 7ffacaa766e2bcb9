"""What to do about a resource: functions of what is there, what is wanted, and how the provider says they differ."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum

from automation.embedded.providers import Diff
from automation.embedded.state import Resource
from automation.embedded.values import Properties, Value, equal


class Action(Enum):
    CREATE = "create"
    SAME = "same"
    UPDATE = "update"
    REPLACE = "replace"
    """Create the new one, then (after everything else) delete the old one."""
    DELETE_BEFORE_REPLACE = "delete-before-replace"


def decide(old: Resource | None, diff: Diff | None, delete_before_replace: bool | None) -> Action:
    """The action for a resource. `delete_before_replace` is the program's option and overrides the provider's word.

    Without `diff` (there is no old one, or it was deleted for another's sake) the resource is created.
    """
    if old is None or diff is None:
        return Action.CREATE
    if old.pending_replacement or (diff.changes and diff.replaces):
        first = diff.delete_before_replace if delete_before_replace is None else delete_before_replace
        return Action.DELETE_BEFORE_REPLACE if first or old.pending_replacement else Action.REPLACE
    if diff.changes or old.init_errors:
        return Action.UPDATE
    return Action.SAME


def with_replace_on_changes(diff: Diff, paths: Iterable[str]) -> Diff:
    """The diff in which a change below one of `paths` (`*` is every property) asks for a replacement."""
    wanted = list(paths)
    if not wanted or not diff.changes:
        return diff
    tops = {path_parts(path)[0] for path in wanted}
    hit = tuple(sorted(key for key in diff.keys if key in tops or "*" in tops))
    if not hit:
        return diff
    replaces = tuple(sorted({*diff.replaces, *hit}))
    return Diff(diff.changes, replaces, diff.keys, diff.delete_before_replace, diff.detailed)


_PART = re.compile(r'([^.\[\]"]+)|\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]')


def path_parts(path: str) -> list[str | int]:
    """`a.b[0]["c.d"]` as ["a", "b", 0, "c.d"]."""
    parts: list[str | int] = []
    for name, index, quoted in _PART.findall(path):
        parts.append(int(index) if index else quoted or name)
    return parts


def ignoring(inputs: Properties, old: Properties, paths: Iterable[str]) -> Properties:
    """The inputs in which everything below one of `paths` is as it was. A path that only one side has is left as it is,
    except at the top level, where it is added or removed."""
    found: Properties = dict(inputs)
    for path in paths:
        parts = path_parts(path)
        if parts == ["*"]:
            found = dict(old)
        elif parts:
            found = _reset(found, old, parts)
    return found


def _reset(new: Value, old: Value, parts: list[str | int]) -> Value:
    part, rest = parts[0], parts[1:]
    if isinstance(new, dict) and isinstance(old, dict):
        names = sorted(new.keys() & old.keys()) if part == "*" else [str(part)]
        changed = dict(new)
        for name in names:
            if rest:
                if name in new and name in old:
                    changed[name] = _reset(new[name], old[name], rest)
            elif name in old:
                changed[name] = old[name]
            else:
                changed.pop(name, None)
        return changed
    if isinstance(new, list) and isinstance(old, list):
        indexes = range(min(len(new), len(old))) if part == "*" else [part] if isinstance(part, int) else []
        items = list(new)
        for index in indexes:
            if index < len(new) and index < len(old):
                items[index] = _reset(new[index], old[index], rest) if rest else old[index]
        return items
    return new


def must_write(old: Resource, new: Resource) -> bool:
    """Whether an unchanged resource still differs in what the state must not lose at once."""
    return not (
        old.type == new.type
        and old.custom == new.custom
        and old.custom_timeouts == new.custom_timeouts
        and old.retain_on_delete == new.retain_on_delete
        and old.provider == new.provider
        and old.parent == new.parent
        and old.deleted_with == new.deleted_with
        and old.protect == new.protect
        and sorted(old.dependencies) == sorted(new.dependencies)
        and equal(old.inputs or {}, new.inputs or {})
        and equal(old.outputs or {}, new.outputs or {})
    )


def dependents_to_replace(
    root: Resource, resources: Iterable[Resource], replaced_by: Callable[[Resource, set[str]], bool]
) -> list[Resource]:
    """Resources that must be deleted before `root` is, because its replacement changes them into other objects; in the
    order of `resources`. `replaced_by(resource, keys)` tells whether unknown values in these inputs replace it."""
    condemned = {root.urn}
    found = []
    for resource in resources:
        if resource is root or not resource.custom or resource.is_provider or resource.delete:
            continue
        keys = {key for key, urns in resource.property_dependencies.items() if condemned.intersection(urns)}
        if keys and replaced_by(resource, keys):
            condemned.add(resource.urn)
            found.append(resource)
    return found
