"""Starts one person's notebook as a pod: whose the home is, and who may write where."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from kubernetes_asyncio.client import (
    ApiException,
    V1EnvVarSource,
    V1ObjectMeta,
    V1Secret,
    V1SecretKeySelector,
)
from kubespawner import KubeSpawner
from tornado import web
from traitlets import List, Unicode

ISSUER = "jhaas.io/issuer"
SUBJECT = "jhaas.io/subject"
"""Annotations of a home's claim that say whose it is. A subject means something only together with its issuer."""


TOKEN = "token"  # noqa: S105 (a key's name)
"""Key in the Secret that holds what a notebook shows to the hub."""


def claim_name(subject: str) -> str:
    """Name of the claim that holds a person's home, at most 63 characters."""
    return f"home-{_own_name(subject)}"


def token_name(subject: str) -> str:
    """Name of the Secret that holds the token of a person's notebook, likewise."""
    return f"token-{_own_name(subject)}"


def _own_name(subject: str) -> str:
    """A person's name in the names of objects.

    The subject itself where it is plain, else its beginning with a digest, so that no subject, however long and however
    much like another, comes to the home of somebody else: plain names hold no `--`, all others end in `--` and 80 bits
    of SHA-256. (KubeSpawner's own names end in 32 bits, for which people who may choose their names can find a twin.)
    """
    if re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", subject) and "--" not in subject:
        return subject
    start = re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")[:18].strip("-")
    return f"{start or 'x'}--{hashlib.sha256(subject.encode()).hexdigest()[:20]}"


class CourseSpawner(KubeSpawner):  # type: ignore[misc] # it has no types
    """KubeSpawner, with four additions: homes are named and marked by their owner, leads may write to the volumes that
    participants read, a notebook's token is kept in a Secret, and a choice that does not exist is the caller's mistake.
    """

    issuer = Unicode(config=True, help="The identity provider that the hub's user names come from.")
    lead_group = Unicode(config=True, help="Group of the leads.")
    lead_mounts = List(
        Unicode(), config=True, help="Volumes that are mounted read-only for everybody but leads, by name."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pvc_name = claim_name(self.user.name)
        self.modify_pod_hook = hide_token
        self.post_stop_hook = forget_token

    @property
    def is_leads(self) -> bool:
        """Whether the notebook belongs to a lead, by the owner's groups as they are now: whoever starts it."""
        return any(group.name == self.lead_group for group in self.user.groups)

    def get_pvc_manifest(self) -> Any:
        """As the original, with the owner."""
        claim = super().get_pvc_manifest()
        claim.metadata.annotations = {
            **(claim.metadata.annotations or {}),
            ISSUER: self.issuer,
            SUBJECT: self.user.name,
        }
        return claim

    async def get_pod_manifest(self) -> Any:
        """As the original; what only leads may write to becomes writable for them."""
        pod = await super().get_pod_manifest()
        if self.is_leads:
            for container in pod.spec.containers:
                for mount in container.volume_mounts or ():
                    if mount.name in self.lead_mounts:
                        mount.read_only = False
        return pod

    async def load_user_options(self) -> None:
        """As the original; JupyterHub would count its ValueError as a failure of the hub."""
        try:
            await super().load_user_options()
        except ValueError as error:
            raise web.HTTPError(400, str(error)) from None

    def _options_form_default(self) -> Any:
        """Nothing to choose where there is one choice."""
        return super()._options_form_default() if len(self.profile_list) > 1 else ""


async def hide_token(spawner: CourseSpawner, pod: Any) -> Any:
    """Before a pod is made: its token goes into a Secret, to which the pod's variables refer.

    More people may look at pods than at Secrets (Kubernetes' own role `view`), and a token opens the notebook.
    """
    await forget_token(spawner)
    name = token_name(spawner.user.name)
    metadata = V1ObjectMeta(name=name, labels=dict(pod.metadata.labels))
    await spawner.api.create_namespaced_secret(
        spawner.namespace, V1Secret(metadata=metadata, string_data={TOKEN: spawner.api_token}), _request_timeout=30
    )
    source = V1EnvVarSource(secret_key_ref=V1SecretKeySelector(name=name, key=TOKEN))
    for container in pod.spec.containers:
        for variable in container.env or ():
            if variable.value == spawner.api_token:
                variable.value, variable.value_from = None, source
    return pod


async def forget_token(spawner: CourseSpawner) -> None:
    """After a notebook ended; fine where there is none. Its token is void by then."""
    try:
        await spawner.api.delete_namespaced_secret(
            token_name(spawner.user.name), spawner.namespace, _request_timeout=30
        )
    except ApiException as error:
        if error.status != 404:
            raise
