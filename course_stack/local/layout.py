"""Where everything of one machine lives: one data folder, one place for each thing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

HOME_ENV = "JHAAS_HOME"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below the data folder. Only `homes` and the folders above it may be entered by notebook accounts."""

    home: Path

    @classmethod
    def of_environment(cls) -> Layout:
        """`JHAAS_HOME`; else `/var/lib/jhaas` for root and `~/.local/share/jhaas` for anyone else."""
        if given := os.environ.get(HOME_ENV):
            return cls(Path(given).resolve())
        if os.geteuid() == 0:
            return cls(Path("/var/lib/jhaas"))
        return cls(Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "jhaas")

    @property
    def settings(self) -> Path:
        """Ports and addresses of this machine's services, written once at the first start (not secret)."""
        return self.home / "settings.json"

    @property
    def credentials(self) -> Path:
        """0700: identity.json, object-store.json, state.json and archives.json (S3 keys of one bucket each),
        state-passphrase."""
        return self.home / "credentials"

    @property
    def services(self) -> Path:
        """0700 (as root 0710, so that Postgres's own account may pass through): one 0700 folder a service (postgres,
        seaweedfs, canaille, traefik) with its configuration and its data."""
        return self.home / "services"

    @property
    def supervisor(self) -> Path:
        """0700: supervisord's configuration, socket, pid and `programs/` (one file a hub)."""
        return self.home / "supervisor"

    @property
    def routes(self) -> Path:
        """0700: the edge's dynamic configuration, one file a course and one for the identity provider."""
        return self.services / "traefik" / "routes"

    @property
    def logs(self) -> Path:
        """0700: logs of services and hubs."""
        return self.home / "logs"

    @property
    def operations(self) -> Path:
        """0700: work folders, leases and logs of operations."""
        return self.home / "operations"

    @property
    def authorities(self) -> Path:
        """0700: for each target that names an authority, the certificates that operations there believe."""
        return self.home / "authorities"

    @property
    def hubs(self) -> Path:
        """0700: one folder a hub, and the books of reserved ports and account numbers."""
        return self.home / "hubs"

    def hub(self, slug: str) -> Path:
        """0700: one hub's configuration, secrets and database."""
        return self.hubs / slug

    def homes(self, slug: str) -> Path:
        """0711: home folders of a course, one a person, each 0700 and owned by that person's account."""
        return self.home / "homes" / slug

    def shared(self, slug: str) -> Path:
        """Shared volumes of a course, one folder a volume."""
        return self.home / "shared" / slug
