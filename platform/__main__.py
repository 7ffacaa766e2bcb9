"""The platform, part by part: each stands on what the parts before it returned."""

from __future__ import annotations

import pulumi

from certificates import certificates
from database import database
from dns_records import dns_records
from ingress import ingress
from kubernetes_objects import cluster_provider
from object_storage import object_storage
from shared_storage import shared_storage
from stack_file import ConfigError, of_pulumi

try:
    config = of_pulumi()
except ConfigError as error:
    raise pulumi.RunError(f"The configuration cannot be used.\n{error}") from None

on = cluster_provider(config.cluster)
edge = ingress(config, on)
names = dns_records(config, on, edge)
issuer = certificates(config, on, edge, names)
shared = shared_storage(config, on)
store = object_storage(config, on)
postgres = database(config, on, issuer, store)

pulumi.export("portal_url", f"https://{config.site.portal_host}/")
pulumi.export("sign_in_url", f"https://{config.site.login_host}/")
pulumi.export("address", edge.address)
