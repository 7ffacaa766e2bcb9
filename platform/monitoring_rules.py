"""When somebody is woken. Each alert says what is wrong, what it means for people, and where to look.

Every web process tells the same of the database: `max` takes one of them.
"""

from __future__ import annotations

from typing import Any

GUIDE, GUIDE_OF_BACKUPS = "docs/portal.md", "docs/platform.md"
OURS = "jhaas-object-storage|jhaas-database"
"""Namespaces with disks of the platform's own."""
_DATABASE = 'namespace="jhaas-database"'
"""Other servers of the cluster may have numbers of the same names."""
_COPIES = "barman_cloud_cloudnative_pg_io"
"""Numbers of the plugin that makes whole copies."""


def rules() -> list[dict[str, Any]]:
    """Groups of rules, as a PrometheusRule holds them."""
    alerts = [
        _alert(
            "JhaasPortalAway",
            "absent(jhaas_database_up)",
            "5m",
            "critical",
            "No web process of the portal tells its numbers.",
            "People see no pages. Look at the pods `portal-web` and at the ingress controller.",
        ),
        _alert(
            "JhaasDatabaseAway",
            "max(jhaas_database_up) == 0",
            "2m",
            "critical",
            "The portal does not reach its database.",
            "Nobody can sign in, nothing is deployed or archived. Notebooks go on.",
        ),
        _alert(
            "JhaasNoWorker",
            "max(jhaas_queue_oldest_seconds) > 60",
            "2m",
            "critical",
            "An operation has been waiting for a worker for {{ $value | humanizeDuration }}.",
            "Courses are neither deployed nor archived. Look at the pods `portal-worker`.",
        ),
        _alert(
            "JhaasNoScheduler",
            "max(jhaas_due_oldest_seconds) > 60",
            "2m",
            "critical",
            "A course has been due for {{ $value | humanizeDuration }}.",
            "Nothing begins by itself. Look at the pods `portal-scheduler`.",
        ),
        _alert(
            "JhaasCourseFailed",
            'max by (status) (jhaas_courses{status=~"deploy_failed|removal_failed"}) > 0',
            "1m",
            "warning",
            "{{ $value }} courses are in the status {{ $labels.status }}.",
            "The tries are used up: somebody of governance looks at the course's page.",
        ),
        _alert(
            "JhaasMailsWait",
            "max(jhaas_mails_unsent) - max(jhaas_mails_unsent offset 1h) > 20",
            "15m",
            "warning",
            "{{ $value }} more mails wait than an hour ago.",
            "People are not told. The page of mails says what the mail server answers.",
        ),
        _alert(
            "JhaasDiskFull",
            # told by the nodes: the store's own numbers would need a way in and an administrator's token
            "max by (namespace, persistentvolumeclaim) ("
            f'kubelet_volume_stats_used_bytes{{namespace=~"{OURS}"}}'
            f' / kubelet_volume_stats_capacity_bytes{{namespace=~"{OURS}"}}) > 0.9',
            "15m",
            "critical",
            "Of the disk {{ $labels.persistentvolumeclaim }} in {{ $labels.namespace }}, "
            "{{ $value | humanizePercentage }} is used.",
            "When it is full, courses are neither deployed nor archived. Give it a greater `storage_size`.",
        ),
        _alert(
            "JhaasChangesNotBackedUp",
            # the server that takes writes tells both times; a file that failed is tried again for ever
            f"max(cnpg_pg_stat_archiver_last_failed_time{{{_DATABASE}}}"
            f" - cnpg_pg_stat_archiver_last_archived_time{{{_DATABASE}}}) > 0",
            "15m",
            "critical",
            "What is written to the database is not backed up any more.",
            "A restore would lose it, and the disk fills up with it. Look at the container `plugin-barman-cloud` of "
            "the server's pod, and whether the object store answers.",
            GUIDE_OF_BACKUPS,
        ),
        _alert(
            "JhaasBackupFailed",
            f"max({_COPIES}_last_failed_backup_timestamp{{{_DATABASE}}}"
            f" - {_COPIES}_last_available_backup_timestamp{{{_DATABASE}}}) > 0",
            "5m",
            "critical",
            "The last whole copy of the database failed.",
            "The one before it and what was written since are still there: a restore takes longer. `kubectl get "
            "backups -n jhaas-database` tells why it failed.",
            GUIDE_OF_BACKUPS,
        ),
        _alert(
            "JhaasBackupOld",
            # one that was never begun is no failure that anybody tells
            f"time() - max({_COPIES}_last_available_backup_timestamp{{{_DATABASE}}}) > {8 * 24 * 3600}",
            "60m",
            "critical",
            "There is no whole copy of the database of the last eight days.",
            "A restore reads back everything since the last one, if there is any. `kubectl get scheduledbackups -n "
            "jhaas-database` tells when the next is due; whoever copies less often than weekly silences this.",
            GUIDE_OF_BACKUPS,
        ),
        _alert(
            "JhaasErrors",
            'sum(rate(jhaas_requests_total{status=~"5.."}[5m])) / sum(rate(jhaas_requests_total[5m])) > 0.05',
            "10m",
            "warning",
            "{{ $value | humanizePercentage }} of the requests end in an error of the portal.",
            "The logs of the pods `portal-web` tell each with the id of its request.",
        ),
        _alert(
            "JhaasSlow",
            "histogram_quantile(0.95, sum by (le) (rate(jhaas_request_seconds_bucket[10m]))) > 2.5",
            "15m",
            "warning",
            "One request in twenty takes longer than {{ $value | humanizeDuration }}.",
            "More web pods help, if the database has time left.",
        ),
    ]
    return [{"name": "jhaas-portal", "rules": alerts}]


def _alert(
    name: str, expression: str, lasting: str, severity: str, what: str, meaning: str, guide: str = GUIDE
) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expression,
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": {"summary": what, "description": f"{meaning} See {guide}."},
    }
