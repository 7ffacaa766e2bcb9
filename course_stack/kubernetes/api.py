"""A cluster as we speak with it beside Pulumi: few verbs, and one clear sentence for whatever goes wrong.

The client is lightkube's. It and its models are imported where a cluster is really spoken with, never by a process that
only knows of clusters.
"""

from __future__ import annotations

import os
import ssl
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from course_stack.credentials import in_folder
from course_stack.target import Target

if TYPE_CHECKING:
    import httpx2
    from lightkube import Client
    from lightkube.config.kubeconfig import SingleConfig
    from lightkube.core.resource import GlobalResource, NamespacedResource

    AnyResource = TypeVar("AnyResource", bound=GlobalResource | NamespacedResource)

KUBECONFIG_ENV = "KUBECONFIG"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the cluster gives a pod its account."""
TIMEOUT = 30.0
CONNECT_TIMEOUT = 5.0
"""Seconds for one answer, and for the connection to it."""
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Asks for names, labels and notes alone."""
_PAGE = 500
_NOTHING_THERE = (403, 404, 405, 503)
"""503: the server of a group that an extension brought is away."""
MANAGER = "jhaas"
"""Field manager: what we wrote into objects is told from what others wrote."""


class ClusterError(Exception):
    """The cluster refused or could not be reached; the message says which, and what to do.

    `passing` tells a failure that may be over in a moment (the API server restarts, a network fails) from a refusal.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class Conflict(ClusterError):
    """The object is there already, or was changed meanwhile."""


def kubeconfig_path(target: Target, folder: Path | None = None) -> Path | None:
    """The kubeconfig of a Kubernetes target: its file in `folder` (default: the folder that `JHAAS_CREDENTIALS_DIR`
    names), else the file that KUBECONFIG names; None where we run in a pod, whose own account it is then. Raises
    `ClusterError`."""
    assert target.cluster is not None, "a target of kind kubernetes has a cluster"
    own = in_folder(target.cluster.kubeconfig, folder, of=target.name)
    if own is not None and own.is_file():
        return own
    given = os.environ.get(KUBECONFIG_ENV, "")
    if os.pathsep in given:
        raise ClusterError(f"KUBECONFIG names several files ({given}): name one, or give {target.cluster.kubeconfig}.")
    path = Path(given).expanduser() if given else None
    if path is not None and path.is_file():
        return path
    if path is None and ACCOUNT.is_dir():
        return None
    tried = " and ".join(str(one) for one in (own, path) if one is not None) or "neither is set"
    raise ClusterError(
        f"There is no kubeconfig of target {target.name} ({tried}): put it as {target.cluster.kubeconfig} into the "
        "credentials' folder (JHAAS_CREDENTIALS_DIR), or name it by KUBECONFIG."
    )


def connect(target: Target, folder: Path | None = None, *, transport: httpx2.BaseTransport | None = None) -> Cluster:
    """The cluster of a Kubernetes target. Makes no connection before it is used. Raises `ClusterError`."""
    import httpx2
    from lightkube import Client
    from lightkube.core.exceptions import ConfigError

    path = kubeconfig_path(target, folder)
    config = _own_account() if path is None else _context(target, path)
    timeout = httpx2.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT)
    try:
        client = Client(config, timeout=timeout, field_manager=MANAGER, transport=transport)
    except (ConfigError, OSError, ValueError, AssertionError) as error:
        raise ClusterError(f"The kubeconfig {path or ACCOUNT} cannot be used: {error}.") from None
    return Cluster(client, config.cluster.server or "", path or ACCOUNT)


def _own_account() -> SingleConfig:
    from lightkube import KubeConfig
    from lightkube.core.exceptions import ConfigError

    try:
        found = KubeConfig.from_service_account(ACCOUNT).get()
    except (OSError, KeyError, ConfigError) as error:
        raise ClusterError(f"The pod's own account in {ACCOUNT} cannot be used: {error}.") from None
    assert found is not None
    return found


def _context(target: Target, path: Path) -> SingleConfig:
    import msgspec
    import yaml
    from lightkube import KubeConfig
    from lightkube.core.exceptions import ConfigError

    assert target.cluster is not None
    try:
        content = KubeConfig.from_file(path)
    except (OSError, yaml.YAMLError, msgspec.MsgspecError, ConfigError, KeyError, TypeError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a kubeconfig"
        raise ClusterError(f"The kubeconfig {path} cannot be read: {reason}.") from None
    wanted = target.cluster.context or content.current_context
    if not wanted:
        raise ClusterError(f"The kubeconfig {path} has no current context: name one by `context` of {target.name}.")
    if wanted not in content.contexts:
        there = ", ".join(sorted(content.contexts)) or "none"
        raise ClusterError(f"The kubeconfig {path} has no context {wanted}; it has: {there}.")
    try:
        found = content.get(wanted)
    except KeyError as error:
        raise ClusterError(
            f"The context {wanted} of the kubeconfig {path} names {error}, which is not there."
        ) from None
    assert found is not None
    if found.user is None:
        raise ClusterError(f"The context {wanted} of the kubeconfig {path} names no user.")
    return found


class Cluster:
    """One cluster; `with connect(target) as cluster:`. Objects are lightkube's; new ones are given as manifests.

    Failures raise `ClusterError`; its text never holds a credential.
    """

    def __init__(self, client: Client, server: str, kubeconfig: Path) -> None:
        # typed with one set of overloads a kind of resource, which generic methods do not fit
        self.client: Any = client
        self.server = server
        self._place = f"The cluster at {server}"
        self._kubeconfig = kubeconfig
        # many who ask once hold it as long as they live themselves
        self._closing = weakref.finalize(self, client.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _t: type[BaseException] | None, _e: BaseException | None, _b: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connections; otherwise they end with this object."""
        self._closing()

    def version(self) -> tuple[int, int]:
        """Major and minor version of the API server."""
        content = self.raw("/version", "tell its version")
        digits = [int("".join(filter(str.isdigit, str(content[name]))) or 0) for name in ("major", "minor")]
        return digits[0], digits[1]

    def raw(
        self,
        path: str,
        what: str,
        *,
        query: Mapping[str, str] | None = None,
        accept: str = "application/json",
        absent: bool = False,
    ) -> dict[str, Any]:
        """The JSON at a path of the API, for what the client's own calls cannot ask. With `absent`, nothing where the
        path is not there, or not ours to see."""
        with self.doing(what, absent=absent):
            http = self.client._client._client  # noqa: SLF001 - lightkube gives no other way
            answer = http.get(path, params=query, headers={"Accept": accept})
            if absent and answer.status_code in _NOTHING_THERE:
                return {}
            answer.raise_for_status()
            content: dict[str, Any] = answer.json()
            return content
        return {}

    def metadata(self, path: str, *, absent: bool = False, **query: str) -> Iterator[dict[str, Any]]:
        """The metadata of the objects at a path, page by page: contents, secrets among them, stay at the cluster."""
        more = ""
        while True:
            asked = {**query, "limit": str(_PAGE), **({"continue": more} if more else {})}
            what = f"list {path.rsplit('/', 1)[-1]}"
            content = self.raw(path, what, query=asked, accept=_METADATA, absent=absent)
            # an empty list may be null
            for one in content.get("items") or ():
                yield one["metadata"]
            more = content.get("metadata", {}).get("continue", "")
            if not more:
                return

    def patch_path(self, path: str, change: Mapping[str, Any], what: str) -> None:
        """Merge the change into the object at a path of the API; fine where it is gone."""
        with self.doing(what, absent=True):
            http = self.client._client._client  # noqa: SLF001 - as above
            answer = http.patch(path, json=dict(change), headers={"Content-Type": "application/merge-patch+json"})
            answer.raise_for_status()

    def get(self, kind: type[AnyResource], name: str, namespace: str | None = None) -> AnyResource | None:
        """The object; None where there is none."""
        place: dict[str, Any] = {} if namespace is None else {"namespace": namespace}
        with self.doing(f"show {_words(kind, name, namespace)}", absent=True):
            found: AnyResource = self.client.get(kind, name, **place)
            return found
        return None

    def objects(
        self,
        kind: type[AnyResource],
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        everywhere: bool = False,
    ) -> list[AnyResource]:
        """The objects of a namespace, of the whole cluster, or (namespaced kinds, `everywhere`) of all namespaces,
        with these labels and fields. A kind that the cluster does not know has none."""
        place: dict[str, Any] = {"namespace": "*"} if everywhere else {"namespace": namespace} if namespace else {}
        with self.doing(f"list {kind.__name__}s", absent=True):
            found: Iterator[AnyResource] = iter(
                self.client.list(
                    kind,
                    labels=dict(labels) if labels else None,
                    fields=dict(fields) if fields else None,
                    chunk_size=_PAGE,
                    **place,
                )
            )
            return [*found]
        return []

    def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Any:
        """Make the object; it as it is then. With `dry_run` it is only asked whether it could be made.

        Raises `Conflict` where there is one of this name."""
        from lightkube.codecs import from_dict

        name = manifest.get("metadata", {}).get("name", "")
        with self.doing(f"make {manifest['kind']} {name}".rstrip()):
            return self.client.create(from_dict(dict(manifest)), dry_run=dry_run)

    def ensure(self, manifest: Mapping[str, Any]) -> Any:
        """Make the object, or bring the one of this name to the manifest; it as it is then."""
        from lightkube.codecs import from_dict

        meta = manifest["metadata"]
        with self.doing(f"make {manifest['kind']} {meta['name']}"):
            return self.client.apply(from_dict(dict(manifest)), force=True)

    def patch(
        self, kind: type[AnyResource], name: str, change: Mapping[str, Any] | list[Any], namespace: str | None = None
    ) -> bool:
        """Merge the change into the object (a list: as JSON patch); False where there is none."""
        from lightkube.types import PatchType

        place: dict[str, Any] = {} if namespace is None else {"namespace": namespace}
        form = PatchType.JSON if isinstance(change, list) else PatchType.MERGE
        content: Any = change if isinstance(change, list) else dict(change)
        with self.doing(f"change {_words(kind, name, namespace)}", absent=True):
            self.client.patch(kind, name, content, patch_type=form, **place)
            return True
        return False

    def delete(
        self, kind: type[AnyResource], name: str, namespace: str | None = None, *, grace: int | None = None
    ) -> bool:
        """Delete the object and what it owns; False where there was none. It may still be going afterwards."""
        from lightkube.types import CascadeType

        place: dict[str, Any] = {} if namespace is None else {"namespace": namespace}
        with self.doing(f"delete {_words(kind, name, namespace)}", absent=True):
            self.client.delete(kind, name, cascade=CascadeType.BACKGROUND, grace_period=grace, **place)
            return True
        return False

    def log(self, pod: str, namespace: str) -> list[str]:
        """What the pod's container has written so far, line by line; nothing where there is no such pod."""
        with self.doing(f"show the log of {pod}", absent=True):
            return [line.rstrip("\n") for line in self.client.log(pod, namespace=namespace)]
        return []

    @contextmanager
    def doing(self, what: str, *, absent: bool = False) -> Iterator[None]:
        """Turn the client's errors into one sentence; with `absent`, that something is not there is no error."""
        import httpx2
        from lightkube.core.exceptions import ApiError, ConfigError, LoadResourceError

        try:
            yield
        except ApiError as error:
            status = error.status
            if status.code == 404 and absent:
                return
            raise self._refusal(status.code or 0, status.reason or "", status.message or "", what) from None
        except httpx2.HTTPStatusError as error:
            if error.response.status_code == 404 and absent:
                return
            raise self._refusal(error.response.status_code, "", "", what) from None
        except httpx2.TimeoutException:
            raise ClusterError(
                f"{self._place} was asked to {what}, but did not answer in time: does the network let us through?",
                passing=True,
            ) from None
        except httpx2.TransportError as error:
            raise self._unreachable(error, what) from None
        except ConfigError as error:
            raise ClusterError(f"The kubeconfig {self._kubeconfig} cannot be used: {error}.") from None
        except (LoadResourceError, httpx2.HTTPError, OSError) as error:
            raise ClusterError(f"{self._place} did not {what}: {error}.") from None

    def _refusal(self, status: int, reason: str, message: str, what: str) -> ClusterError:
        if status == 401:
            return ClusterError(
                f"{self._place} does not accept who we are: the credential in {self._kubeconfig} has ended or is wrong."
            )
        if status == 403 and reason in ("", "Forbidden") and "is forbidden: exceeded quota" not in message:
            said = f" ({message})" if message else ""
            return ClusterError(f"{self._place} does not allow us to {what}{said}: give the account this right.")
        if status == 409:
            return Conflict(f"{self._place} did not {what}: {message or 'it is there already'}.")
        if status >= 500 or status == 429:
            return ClusterError(
                f"{self._place} did not {what}: it fails itself (HTTP {status}{f', {message}' if message else ''}).",
                passing=True,
            )
        return ClusterError(f"{self._place} did not {what}: {(message or f'HTTP {status}').rstrip('.')}.")

    def _unreachable(self, error: Exception, what: str) -> ClusterError:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return ClusterError(
                    f"{self._place} has a certificate that {self._kubeconfig} does not vouch for "
                    f"({cause.verify_message}): correct its certificate-authority-data."
                )
            cause = cause.__cause__ or cause.__context__
        return ClusterError(
            f"{self._place} was asked to {what}, but does not answer: is it running, and its address in "
            f"{self._kubeconfig} right?",
            passing=True,
        )


def _words(kind: type[Any], name: str, namespace: str | None) -> str:
    return f"{kind.__name__} {name}{f' in {namespace}' if namespace else ''}"
