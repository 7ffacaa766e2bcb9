"""What is measured, and who is woken: Prometheus with Grafana where the site wants ours, and what they look at.

Other parts ask for monitors of their own in their charts' values: where Prometheus is ours, it is made first
(`prometheus`), since it brings the kinds of these objects. What it looks at of the portal comes last (`watching`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
from pulumi_random import RandomPassword

from config import PlatformConfig
from kubernetes_objects import Manifest, Part, apply, manifest, namespace_object, over, release, secret, secret_object
from monitoring_rules import rules
from outputs import PortalSite, Prometheus
from portal_objects import METRICS_KEY, SETTINGS_SECRET, WEB

NAMESPACE = "jhaas-monitoring"
RELEASE = "kube-prometheus-stack"
GRAFANA_SECRET, MAIL_SECRET = "grafana-admin", "alert-mail"
DASHBOARD_LABEL = "grafana_dashboard"
"""By which Grafana's sidecar finds ConfigMaps, in this chart and in most others."""
DASHBOARDS = Path(__file__).parent / "dashboards"
API = "monitoring.coreos.com/v1"


def prometheus(config: PlatformConfig, on: pulumi.ResourceOptions) -> Prometheus:
    """Prometheus, Alertmanager and Grafana, where they are to be ours."""
    return PrometheusStack(config, on).outputs if config.monitoring.install else Prometheus()


def watching(config: PlatformConfig, on: pulumi.ResourceOptions, portal: PortalSite, found: Prometheus) -> None:
    """Monitors, alert rules and dashboards of the portal, as far as the site wants them."""
    chosen = config.monitoring
    if chosen.watched or chosen.dashboards:
        Watching(config, on, portal, found)


class PrometheusStack(Part):
    """kube-prometheus-stack by its chart. Output: `outputs`."""

    outputs: Prometheus

    def __init__(self, config: PlatformConfig, on: pulumi.ResourceOptions) -> None:
        super().__init__("monitoring", on)
        made = RandomPassword("monitoring-grafana", length=32, special=False, opts=pulumi.ResourceOptions(parent=self))
        password: pulumi.Output[str] = pulumi.Output.secret(made.result)
        # the exporter of the nodes' numbers looks at the nodes themselves
        (home,) = apply([namespace_object(NAMESPACE, "privileged")], self.inside())
        before = apply(stack_secrets(config, password), self.inside([home]))
        installed = release(
            RELEASE,
            config.charts.kube_prometheus_stack,
            stack_values(config),
            namespace=NAMESPACE,
            cluster=config.cluster,
            opts=self.inside([home, *before]),
        )
        self.outputs = Prometheus(grafana_password=password, ready=(home, *before, installed))
        self.register_outputs({})


class Watching(Part):
    """What Prometheus and Grafana look at of the portal."""

    def __init__(
        self, config: PlatformConfig, on: pulumi.ResourceOptions, portal: PortalSite, found: Prometheus
    ) -> None:
        super().__init__("watching", on)
        chosen = config.monitoring
        seen = [
            *(rule_objects(config, portal.namespace) if chosen.watched else []),
            *(dashboard_objects(portal.namespace) if chosen.dashboards or chosen.install else []),
        ]
        apply(seen, self.inside([*portal.ready, *found.ready]))
        self.register_outputs({})


def stack_secrets(config: PlatformConfig, grafana_password: Any) -> list[Manifest]:
    """Who may into Grafana, and how alerts' mails leave."""
    mail = config.mail
    admin = {"user": "admin", "password": grafana_password}
    found = [secret_object(GRAFANA_SECRET, NAMESPACE, admin)]
    if mail.password is not None:
        found.append(secret_object(MAIL_SECRET, NAMESPACE, {"password": secret(mail.password.get_secret_value())}))
    return found


def stack_values(config: PlatformConfig) -> dict[str, Any]:
    """Values of kube-prometheus-stack's chart: it finds everybody's monitors, rules and dashboards."""
    small = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
    claim: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}}
    if config.cluster.storage_class is not None:
        claim["storageClassName"] = config.cluster.storage_class
    everything = {
        f"{kind}SelectorNilUsesHelmValues": False
        for kind in ("serviceMonitor", "podMonitor", "rule", "probe", "scrapeConfig")
    }
    not_reached = {f"kube{part}": {"enabled": False} for part in ("ControllerManager", "Etcd", "Proxy", "Scheduler")}
    values: dict[str, Any] = {
        # most clusters do not let anybody ask these
        **not_reached,
        "prometheus": {
            "prometheusSpec": {
                **everything,
                "retention": "30d",
                "retentionSize": "18GB",
                "storageSpec": {"volumeClaimTemplate": {"spec": claim}},
                "resources": {"requests": {"cpu": "200m", "memory": "768Mi"}, "limits": {"memory": "3Gi"}},
            }
        },
        "prometheusOperator": {"resources": small},
        "alertmanager": {"alertmanagerSpec": {"resources": small}},
        "grafana": {
            "admin": {"existingSecret": GRAFANA_SECRET, "userKey": "user", "passwordKey": "password"},
            "sidecar": {"dashboards": {"enabled": True, "label": DASHBOARD_LABEL, "searchNamespace": "ALL"}},
            "grafana.ini": {"analytics": {"reporting_enabled": False, "check_for_updates": False}},
            "resources": {"requests": {"cpu": "50m", "memory": "192Mi"}, "limits": {"memory": "512Mi"}},
        },
    }
    return over(values, _by_mail(config)) if config.mail.host else values


def _by_mail(config: PlatformConfig) -> dict[str, Any]:
    """Alerts go to the site's contact."""
    mail = config.mail
    account = {
        "smtp_auth_username": mail.user,
        "smtp_auth_password_file": f"/etc/alertmanager/secrets/{MAIL_SECRET}/password",
    }
    way = {
        "smtp_smarthost": f"{mail.host}:{mail.port}",
        "smtp_from": mail.sender or config.site.contact,
        "smtp_require_tls": mail.tls != "none",
        # said always: not told, Alertmanager takes port 465 for TLS from the first byte and every other for STARTTLS
        "smtp_force_implicit_tls": mail.tls == "tls",
        **(account if mail.password is not None else {}),
    }
    to_people = {"to": config.site.contact, "send_resolved": True}
    routes = {
        "receiver": "people",
        "group_by": ["alertname"],
        # this one never ends: it tells a watchman that alerts get through
        "routes": [{"matchers": ['alertname =~ "Watchdog|InfoInhibitor"'], "receiver": "nobody"}],
    }
    told = {
        "global": way,
        "route": routes,
        "receivers": [{"name": "nobody"}, {"name": "people", "email_configs": [to_people]}],
    }
    mounted = {"alertmanagerSpec": {"secrets": [MAIL_SECRET]}} if mail.password is not None else {}
    return {"alertmanager": {"config": told, **mounted}}


def rule_objects(config: PlatformConfig, namespace: str) -> list[Manifest]:
    """Where the portal's numbers are, and when somebody is woken."""
    endpoint = {
        "port": "http",
        "path": "/metrics",
        "interval": "30s",
        "authorization": {"type": "Bearer", "credentials": {"name": SETTINGS_SECRET, "key": METRICS_KEY}},
    }
    selector = {"matchLabels": {"app.kubernetes.io/name": WEB}}
    monitor = manifest(API, "ServiceMonitor", WEB, namespace, spec={"selector": selector, "endpoints": [endpoint]})
    alerts = manifest(API, "PrometheusRule", "portal", namespace, spec={"groups": rules()})
    for one in (monitor, alerts):
        one["metadata"]["labels"] |= config.monitoring.labels
    return [monitor, alerts]


def dashboard_objects(namespace: str) -> list[Manifest]:
    """Each dashboard of the folder."""
    found = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        one = manifest("v1", "ConfigMap", f"dashboard-{path.stem}", namespace, data={path.name: path.read_text()})
        one["metadata"]["labels"][DASHBOARD_LABEL] = "1"
        found.append(one)
    return found
