"""The platform, part by part: each stands on what the parts before it returned."""

from __future__ import annotations

import pulumi

from certificates import certificates
from database import database
from dns_records import dns_records
from identity import identity
from ingress import ingress
from kubernetes_objects import cluster_provider, later
from kubernetes_version import refuse_old
from monitoring import prometheus, watching
from next_steps import next_steps
from object_storage import object_storage
from portal_workloads import Ground, portal_workloads
from shared_storage import shared_storage
from stack_file import ConfigError, of_pulumi

try:
    config = of_pulumi()
except ConfigError as error:
    raise pulumi.RunError(f"The configuration cannot be used.\n{error}") from None

refuse_old(config.cluster)
on = cluster_provider(config.cluster)
measured = prometheus(config, on)
# other parts' charts bring monitors: what these are must be known
on = later(on, measured.ready)
edge = ingress(config, on)
names = dns_records(config, on, edge)
issuer = certificates(config, on, edge, names)
shared = shared_storage(config, on)
store = object_storage(config, on)
postgres = database(config, on, issuer, store)
who = identity(config, on, postgres, edge, issuer, names)
ground = Ground(edge=edge, names=names, issuer=issuer, postgres=postgres, store=store, who=who, shared=shared)
portal = portal_workloads(config, on, ground)
watching(config, on, portal, measured)

pulumi.export("portal_url", portal.url)
pulumi.export("sign_in_url", who.url)
pulumi.export("admin_password", who.admin_password)
pulumi.export("address", edge.address)
if measured.grafana_password is not None:
    pulumi.export("grafana_password", measured.grafana_password)
pulumi.export("next_steps", next_steps(config))
