"""The platform, part by part: each stands on what the parts before it returned."""

from __future__ import annotations

import pulumi

from kubernetes_objects import cluster_provider
from stack_file import ConfigError, of_pulumi

try:
    config = of_pulumi()
except ConfigError as error:
    raise pulumi.RunError(f"The configuration cannot be used.\n{error}") from None

cluster = cluster_provider(config.cluster)

pulumi.export("portal_url", f"https://{config.site.portal_host}/")
