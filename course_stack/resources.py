"""What our dynamic resources have in common.

A provider's module and class name are stored in every stack's state (Pulumi pickles providers by reference): they are a
contract. A renamed class leaves an alias behind; a provider holds no state, and no credential is ever an input.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pulumi.dynamic import DiffResult, ResourceProvider

from course_stack.target import WITHOUT_CLUSTER, Target

Properties = dict[str, Any]


class Provider(ResourceProvider):
    """Compares input by input: state (as last read from the real world) against what is wanted."""

    serialize_as_secret_always = False
    """The pickled provider is a module's and a class's name: no secret."""

    identity: ClassVar[tuple[str, ...]] = ()
    """Inputs that make another object when they change: it is replaced, the old one deleted first, since both would
    have the same name."""

    def diff(self, _id: str, olds: Properties, news: Properties) -> DiffResult:
        """Which inputs differ from the state."""
        # outputs stand among the inputs as None
        wanted = {name: value for name, value in news.items() if value is not None and not name.startswith("__")}
        changed = [name for name, value in sorted(wanted.items()) if value != olds.get(name)]
        replaces = [name for name in changed if name in self.identity]
        return DiffResult(
            changes=bool(changed) or self.drifted(olds), replaces=replaces, delete_before_replace=bool(replaces)
        )

    def drifted(self, _olds: Properties) -> bool:
        """Whether the last look at the real world found something that an update puts right."""
        return False


def target_of(properties: Properties) -> Target:
    """The target that an object was made on, without its cluster."""
    return Target.model_validate(properties["target"], context=WITHOUT_CLUSTER)


def target_inputs(target: Target) -> Properties:
    """The target as an input: addresses and choices, nothing secret.

    Without the cluster, which none of our resources needs: another image or toleration there changes no account, bucket
    or key of a course."""
    return {"target": target.model_dump(mode="json", exclude={"cluster"}, exclude_none=True)}
