"""The hub's side of the edge: one Traefik for all hubs, one file of routes for each hub."""

from __future__ import annotations

from typing import Any

from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy
from traitlets import Unicode


class CourseProxy(TraefikFileProviderProxy):  # type: ignore[misc] # it has no types
    """Routes of one hub below its own host name.

    The hub itself knows paths only (`/`, `/user/anna/`); towards Traefik each begins with the course's host, which
    makes rules and names of different hubs different.
    """

    host = Unicode(help="Host name of the course's hub, without port.", config=True)

    def validate_routespec(self, routespec: str) -> str:
        """The route with the host in front, as Traefik knows it."""
        spec: str = super().validate_routespec(routespec)
        return f"{self.host}{spec}" if spec.startswith("/") else spec

    async def get_all_routes(self) -> dict[str, dict[str, Any]]:
        """The routes as the hub knows them, without the host."""
        return {
            spec.removeprefix(self.host): {**route, "routespec": spec.removeprefix(self.host)}
            for spec, route in (await super().get_all_routes()).items()
        }
