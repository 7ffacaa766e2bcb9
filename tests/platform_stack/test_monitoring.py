"""What is measured: every number that is asked for exists, and whoever looks is let in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from sqlalchemy import create_engine

from portal import metrics
from portal.lifecycle import Status
from tests.platform_stack import switches
from tests.platform_stack.conftest import ROOT, Rehearse

if TYPE_CHECKING:
    from rehearsal import Made, Rehearsal

DASHBOARDS = sorted((ROOT / "platform/dashboards").glob("*.json"))

OF_KUBERNETES = {
    # kubelet: https://kubernetes.io/docs/reference/instrumentation/metrics/ and cAdvisor's docs/storage/prometheus.md
    "container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes",
    "kubelet_volume_stats_capacity_bytes",
    "kubelet_volume_stats_used_bytes",
    # kube-state-metrics: docs/metrics of its repository
    "kube_pod_container_status_last_terminated_reason",
    "kube_pod_info",
    "kube_pod_status_phase",
    "kube_resourcequota",
}
OF_POSTGRES = {
    # CloudNativePG: config/manager/default-monitoring.yaml of its repository
    "cnpg_pg_stat_archiver_last_archived_time",
    "cnpg_pg_stat_archiver_last_failed_time",
    # its Barman plugin: internal/cnpgi/instance/metrics.go
    "barman_cloud_cloudnative_pg_io_last_available_backup_timestamp",
    "barman_cloud_cloudnative_pg_io_last_failed_backup_timestamp",
}
"""Told by a server that runs, too (tests/cluster/test_platform_charts.py)."""
WORDS = {
    *("absent", "by", "count", "delta", "histogram_quantile", "max", "max_over_time", "offset", "or", "rate", "sum"),
    *("topk", "vector", "label_values", "on", "and", "time"),
}
"""Of PromQL and of Grafana, as far as we use it."""


def known() -> set[str]:
    """Names under which the portal's numbers are stored."""
    metrics.observe("GET", "/", 200, 0.1)
    body, _ = metrics.exposition(create_engine("postgresql+psycopg://127.0.0.1:1/none"))
    told = {line.split("{")[0].split(" ")[0] for line in body.decode().splitlines() if line[:1] not in ("#", "")}
    return told | {name for name, *_ in metrics._COUNTS}


def expressions() -> Iterator[tuple[str, str]]:
    """(where, expression) of every panel, variable and alert."""
    import monitoring_rules

    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{path.stem}: {variable['name']}", variable["query"]["query"]
    for group in monitoring_rules.rules():
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def asked(expression: str) -> set[str]:
    """Metrics that an expression names: what is no word of the language, no label, no text and no duration."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}", "", bare)
    bare = re.sub(r"\b(by|on|without)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    bare = re.sub(r"label_values\(([^,]*),[^)]*\)", r"\1", bare)
    return set(re.findall(r"\b[a-zA-Z_:][\w:]*", bare)) - WORDS - {"offset"}


@pytest.mark.parametrize(("where", "expression"), [*expressions()])
def test_every_number_that_is_asked_for_exists(where: str, expression: str) -> None:
    found = asked(expression)
    assert found, where
    assert found <= known() | OF_KUBERNETES | OF_POSTGRES, where


def test_labels_that_are_asked_for_are_those_that_the_portal_gives() -> None:
    labels = {name: set(given.split()) for name, _, given, _ in metrics._COUNTS}
    labels |= {"jhaas_requests_total": {"method", "route", "status"}, "jhaas_request_seconds_bucket": {"route", "le"}}
    used = [
        (where, name, label)
        for where, expression in expressions()
        for name, inner in re.findall(r"(jhaas_\w+)\{([^}]*)\}", expression)
        for label in re.findall(r"(\w+)\s*[=!]", inner)
    ]
    assert used
    assert [one for one in used if one[2] not in labels[one[1]]] == []


def test_statuses_that_are_asked_for_are_statuses() -> None:
    from sqlalchemy import CheckConstraint

    from portal.models import Operation

    (check,) = [
        str(one.sqltext)
        for one in Operation.__table__.constraints  # type: ignore[attr-defined]
        if isinstance(one, CheckConstraint) and "superseded" in str(one.sqltext)
    ]
    of_operations = set(re.findall(r"'(\w+)'", check))
    for where, expression in expressions():
        for name, words in re.findall(r'jhaas_(courses|operations)\{status=~?"([^"]+)"\}', expression):
            allowed = {one.value for one in Status} if name == "courses" else of_operations
            assert set(words.split("|")) <= allowed, where


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_can_be_brought_in(path: Path) -> None:
    board = json.loads(path.read_text())
    assert board["uid"] == f"jhaas-{path.stem}"
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert taken.isdisjoint(cells), panel["title"]
        taken |= cells
        # whichever Prometheus is chosen at the top
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    # a ConfigMap holds a mebibyte
    assert path.stat().st_size < 500_000


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    import monitoring_rules

    alerts = [rule for group in monitoring_rules.rules() for rule in group["rules"]]
    assert len({rule["alert"] for rule in alerts}) == len(alerts)
    for rule in alerts:
        assert rule["labels"]["severity"] in ("critical", "warning")
        told = rule["annotations"]
        assert set(told) == {"summary", "description"}
        # what is wrong; then what it means or where to look, beside the page
        assert told["summary"].endswith(".")
        meaning, _, guide = told["description"].rpartition(" See ")
        assert len(meaning.split()) > 5
        assert (ROOT / guide.removesuffix(".")).is_file()
        assert re.fullmatch(r"[1-9][0-9]*m", rule["for"])
        # a label that is told is one that is left of the sums
        kept = {one.strip() for inner in re.findall(r"\bby\s*\(([^)]*)\)", rule["expr"]) for one in inner.split(",")}
        assert set(re.findall(r"\$labels\.(\w+)", " ".join(told.values()))) <= kept
    # those that the guide names
    named = set(re.findall(r"`(jhaas_\w+)", (ROOT / monitoring_rules.GUIDE).read_text().split("Worth an alarm")[1]))
    assert named - {"jhaas_operations"} <= {name for rule in alerts for name in asked(rule["expr"])}


# --- in the cluster

WATCHING = ("ServiceMonitor", "PodMonitor", "PrometheusRule")


def of_kind(made: Rehearsal, kind: str) -> list[Made]:
    return [one for one in made.objects if one.inputs["kind"] == kind]


def test_nothing_is_watched_where_nobody_asked(rehearse: Rehearse) -> None:
    made = rehearse()
    assert of_kind(made, "ServiceMonitor") == of_kind(made, "PrometheusRule") == []
    assert "grafana_password" not in made.exports


@pytest.fixture(scope="module")
def watched(rehearse: Rehearse) -> Rehearsal:
    return rehearse(**switches.SWITCHES["monitoring"]["rules"])


def test_the_monitor_finds_the_web_pods_and_may_read_their_numbers(watched: Rehearsal) -> None:
    (monitor,) = of_kind(watched, "ServiceMonitor")
    (service,) = [one for one in of_kind(watched, "Service") if one.inputs["metadata"]["name"] == "portal-web"]
    spec = monitor.inputs["spec"]
    assert spec["selector"]["matchLabels"].items() <= service.inputs["metadata"]["labels"].items()
    (endpoint,) = spec["endpoints"]
    assert endpoint["port"] in [one["name"] for one in service.inputs["spec"]["ports"]]
    told = endpoint["authorization"]["credentials"]
    (held,) = [one for one in of_kind(watched, "Secret") if one.inputs["metadata"]["name"] == told["name"]]
    assert held.inputs["metadata"]["namespace"] == monitor.inputs["metadata"]["namespace"]
    assert held.inputs["stringData"][told["key"]]


def test_whoever_measures_is_let_in(watched: Rehearsal, rehearse: Rehearse) -> None:
    def entries(made: Rehearsal) -> list[Any]:
        (policy,) = [
            one
            for one in of_kind(made, "NetworkPolicy")
            if (one.inputs["metadata"]["namespace"], one.inputs["metadata"]["name"]) == ("jhaas-portal", "portal-web")
        ]
        found: list[Any] = policy.inputs["spec"]["ingress"]
        return found

    assert "from" not in entries(watched)[0]
    assert entries(rehearse())[0]["from"]


def test_h18_every_alert_is_handed_to_prometheus(watched: Rehearsal, ours: Rehearsal) -> None:
    import monitoring_rules

    for made in (watched, ours):
        (rule,) = of_kind(made, "PrometheusRule")
        assert rule.inputs["spec"]["groups"] == monitoring_rules.rules()
    # a part of the portal that is away, a course that failed, mail that waits, a disk that fills up, backups that fail
    asked_for = {name for group in monitoring_rules.rules() for rule in group["rules"] for name in asked(rule["expr"])}
    assert asked_for >= {
        *("jhaas_database_up", "jhaas_queue_oldest_seconds", "jhaas_due_oldest_seconds", "jhaas_courses"),
        *("jhaas_mails_unsent", "kubelet_volume_stats_used_bytes"),
        *OF_POSTGRES,
    }


def test_the_database_tells_its_numbers_to_whoever_measures_and_to_nobody_else(
    watched: Rehearsal, rehearse: Rehearse
) -> None:
    (monitor,) = of_kind(watched, "PodMonitor")
    (servers,) = of_kind(watched, "Cluster")
    assert monitor.inputs["metadata"]["namespace"] == servers.inputs["metadata"]["namespace"] == "jhaas-database"
    assert servers.urn in watched.before(monitor)
    assert of_kind(rehearse(), "PodMonitor") == []
    (monitoring,) = switches.SWITCHES["monitoring"]["rules"].values()
    assert of_kind(rehearse(monitoring=monitoring, **switches.SWITCHES["database"]["external"]), "PodMonitor") == []


def test_monitors_and_rules_carry_the_labels_by_which_prometheus_chooses(watched: Rehearsal) -> None:
    for one in (one for kind in WATCHING for one in of_kind(watched, kind)):
        assert one.inputs["metadata"]["labels"]["release"] == "prometheus"


def test_dashboards_carry_the_label_by_which_grafana_finds_them(watched: Rehearsal) -> None:
    maps = [one for one in of_kind(watched, "ConfigMap") if "grafana_dashboard" in one.inputs["metadata"]["labels"]]
    assert {key for one in maps for key in one.inputs["data"]} == {path.name for path in DASHBOARDS}


@pytest.fixture(scope="module")
def ours(rehearse: Rehearse) -> Rehearsal:
    return rehearse(monitoring={"install": True}, **switches.SWITCHES["mail"]["starttls"])


def test_whoever_brings_monitors_comes_after_what_knows_them(ours: Rehearsal) -> None:
    (stack,) = [one for one in ours.of("Release") if one.name == "kube-prometheus-stack"]
    others = [one for one in ours.of("Release") if one.name != stack.name]
    assert {"cloudnative-pg", "authentik"} <= {one.name for one in others}
    for one in (*others, *(one for kind in WATCHING for one in of_kind(ours, kind))):
        assert stack.urn in ours.before(one), one.name


def test_our_prometheus_takes_monitors_rules_and_dashboards_of_everybody(ours: Rehearsal) -> None:
    values = next(one for one in ours.of("Release") if one.name == "kube-prometheus-stack").inputs["values"]
    chosen = values["prometheus"]["prometheusSpec"]
    assert [chosen[f"{kind}SelectorNilUsesHelmValues"] for kind in ("serviceMonitor", "podMonitor", "rule")] == [
        False
    ] * 3
    sidecar = values["grafana"]["sidecar"]["dashboards"]
    assert (sidecar["label"], sidecar["searchNamespace"]) == ("grafana_dashboard", "ALL")


def test_the_way_into_grafana_is_a_secret_of_its_own(ours: Rehearsal) -> None:
    values = next(one for one in ours.of("Release") if one.name == "kube-prometheus-stack").inputs["values"]
    assert "adminPassword" not in values["grafana"]
    admin = values["grafana"]["admin"]
    (held,) = [one for one in of_kind(ours, "Secret") if one.inputs["metadata"]["name"] == admin["existingSecret"]]
    assert held.inputs["stringData"][admin["passwordKey"]] == ours.exports["grafana_password"]
    assert "grafana_password" in ours.secret_exports


@pytest.mark.parametrize(
    ("tls", "port", "required", "from_the_first_byte"),
    [("starttls", 587, True, False), ("tls", 8465, True, True), ("none", 465, False, False)],
)
def test_alerts_go_over_to_tls_or_begin_with_it_as_the_site_says_whatever_the_port(
    tls: str, port: int, *, required: bool, from_the_first_byte: bool, rehearse: Rehearse
) -> None:
    made = rehearse(monitoring={"install": True}, mail={"host": "mail.example.org", "port": port, "tls": tls})
    values = next(one for one in made.of("Release") if one.name == "kube-prometheus-stack").inputs["values"]
    told = values["alertmanager"]["config"]["global"]
    assert told["smtp_smarthost"] == f"mail.example.org:{port}"
    assert (told["smtp_require_tls"], told["smtp_force_implicit_tls"]) == (required, from_the_first_byte)


def test_alerts_reach_people_by_mail_and_the_password_stands_in_a_file(ours: Rehearsal, rehearse: Rehearse) -> None:
    values = next(one for one in ours.of("Release") if one.name == "kube-prometheus-stack").inputs["values"]
    told = values["alertmanager"]["config"]
    assert told["receivers"][1]["email_configs"][0]["to"] == "help@example.org"
    assert told["route"]["receiver"] in [one["name"] for one in told["receivers"]]
    assert switches.SECRET not in yaml.safe_dump(values)
    (mounted,) = values["alertmanager"]["alertmanagerSpec"]["secrets"]
    assert told["global"]["smtp_auth_password_file"] == f"/etc/alertmanager/secrets/{mounted}/password"
    without = next(
        one for one in rehearse(monitoring={"install": True}).of("Release") if one.name == "kube-prometheus-stack"
    )
    assert "config" not in without.inputs["values"]["alertmanager"]


def test_the_disks_that_are_watched_are_those_of_store_and_database() -> None:
    import database_objects
    import monitoring_rules
    import object_storage_objects

    assert set(monitoring_rules.OURS.split("|")) == {database_objects.NAMESPACE, object_storage_objects.NAMESPACE}


def test_nothing_is_asked_of_the_store_itself_which_lets_no_prometheus_in(rehearse: Rehearse) -> None:
    made = rehearse(monitoring={"install": True})
    monitors = [one.inputs for one in made.objects if one.inputs["kind"] in ("ServiceMonitor", "PodMonitor")]
    assert monitors
    assert "jhaas-object-storage" not in json.dumps(monitors)
    assert [where for where, expression in expressions() if re.search(r"\bminio_|\bsilo_", expression)] == []
