"""What an operator does once `up` has ended: an output of the stack, so that nobody has to look for it."""

from __future__ import annotations

from config import Authentik, ExistingIngress, PlatformConfig

ADMIN = "akadmin"
"""The first admin of Authentik, whom it makes itself."""


def next_steps(config: PlatformConfig) -> list[str]:
    """The steps, each one sentence or two, in their order."""
    site, portal = config.site, config.portal
    steps = []
    if config.certificates.issuer == "selfsigned":
        steps.append(
            "Browsers do not know this cluster's authority. To have one trust it: kubectl get secret jhaas-authority "
            f"-n {config.certificates.namespace} -o jsonpath='{{.data.tls\\.crt}}' | base64 -d > authority.crt"
        )
    if isinstance(config.ingress, ExistingIngress) and config.has_wildcard:
        steps.append(
            "Have your ingress controller show the certificate hubs-wildcard of the namespace "
            f"{config.ingress.namespace} for *.{site.hub_domain}."
        )
    if isinstance(config.identity, Authentik):
        steps.append(
            f"Sign in at https://{site.login_host}/ as {ADMIN} (pulumi stack output admin_password --show-secrets), "
            f"and put the people who approve courses into the group {portal.governance_group}."
        )
    else:
        steps.append(f"Put the people who approve courses into the group {portal.governance_group} of your provider.")
    if portal.teachers_group:
        steps.append(f"Put the people who ask for courses into the group {portal.teachers_group}.")
    steps.append(f"Open https://{site.portal_host}/ and ask for the first course.")
    if config.mail.host is None:
        steps.append("No mail is sent: set jhaas-platform:mail.host.")
    steps.append(
        "Keep apart from this cluster: the state of this stack, the passphrase (or key) that encrypts it, and copies "
        "of database and buckets."
    )
    return steps
