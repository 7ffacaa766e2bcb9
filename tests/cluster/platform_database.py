"""The platform's own database, asked as its clients and its operator ask."""

from __future__ import annotations

from tests.cluster import kube
from tests.cluster.platform_project import Project
from tests.support.waiting import wait_for

NAMESPACE = "jhaas-database"


def sql(platform: Project, role: str, statement: str, *, database: str = "portal") -> str:
    """What the server answers to a role that signs in as clients do (`postgres`: as the operator does)."""
    server = f"postgres-{platform.sections.get('database', {}).get('generation', 1)}"
    way = f"dbname={database}"
    if role != "postgres":
        host = (
            f"host={server}-rw.{NAMESPACE}.svc sslmode=verify-full sslrootcert=/controller/certificates/server-ca.crt"
        )
        way = f"{way} user={role} {host}"
    password = kube.secret(NAMESPACE, f"role-{role.replace('_', '-')}")["password"] if role != "postgres" else ""
    answer = kube.kubectl(
        *("exec", "-i", "-n", NAMESPACE, f"{server}-1", "-c", "postgres", "--"),
        *("sh", "-c", 'read -r PGPASSWORD; export PGPASSWORD; exec psql -X -q -A -t -v ON_ERROR_STOP=1 "$0" -c "$1"'),
        *(way, statement),
        stdin=f"{password}\n",
    )
    return answer.strip()


def archive(platform: Project) -> None:
    """Wait until all that was written so far is backed up."""
    written = sql(platform, "postgres", "SELECT pg_walfile_name(pg_switch_wal())")
    wait_for(
        lambda: sql(platform, "postgres", f"SELECT last_archived_wal >= '{written}' FROM pg_stat_archiver") == "t",
        "what was written is backed up",
        5 * 60,
    )


def backed_up() -> bool:
    """Whether every whole copy that was begun is complete, and there is one."""
    backups = kube.show("backups.postgresql.cnpg.io", "-n", NAMESPACE)
    return bool(backups) and all(one.get("status", {}).get("phase") == "completed" for one in backups)
