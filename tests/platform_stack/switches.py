"""The positions of every switch of the platform, and cases in which any two of them meet."""

from __future__ import annotations

from typing import Any

from tests.platform_stack.conftest import Sections
from tests.support.pairwise import pairwise

AWS = {"region": "eu-central-1", "prefix": "example-jhaas"}
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nc2l0ZQ==\n-----END CERTIFICATE-----\n"
SECRET = "given-by-the-site"
"""Begins every secret that the site gives: found anywhere else, it has leaked."""


def _key(name: str) -> dict[str, str]:
    return {"access_key_id": name, "secret_access_key": f"{SECRET}-{name}"}


SWITCHES: dict[str, dict[str, Sections]] = {
    "ingress": {
        "load-balancer": {},
        "node-port": {"ingress": {"exposure": "node-port", "address": "192.0.2.7"}},
        "host-port": {"ingress": {"exposure": "host-port", "address": "192.0.2.7"}},
        "existing": {
            "ingress": {
                "kind": "existing",
                "class_name": "nginx",
                "namespace": "ingress",
                "annotations": {"nginx.org/client-max-body-size": "0"},
                "address": "balancer.example.org",
            }
        },
    },
    "certificates": {
        "selfsigned": {"certificates": {"issuer": "selfsigned"}},
        "http01": {"certificates": {"issuer": "letsencrypt"}},
        "staging rfc2136": {
            "certificates": {"issuer": "letsencrypt-staging", "challenge": "dns01", "ca": CERTIFICATE},
            "dns": {
                "provider": {
                    "kind": "rfc2136",
                    "nameserver": "192.0.2.53",
                    "key_name": "jhaas",
                    "key_secret": f"{SECRET}-tsig",
                },
                "nameservers": ["9.9.9.9:53"],
            },
        },
        "cloudflare": {
            "certificates": {"issuer": "letsencrypt", "challenge": "dns01"},
            "dns": {"provider": {"kind": "cloudflare", "api_token": f"{SECRET}-cloudflare"}},
        },
        "route53": {
            "certificates": {"issuer": "letsencrypt", "challenge": "dns01"},
            "dns": {"provider": {"kind": "route53", "zone_id": "Z123", "hub_zone_id": "Z456"}, "records": "provider"},
            "aws": AWS,
        },
        "acme": {
            "certificates": {
                "issuer": "acme",
                "acme_server": "https://acme.example.org/directory",
                "eab_key_id": "university",
                "eab_hmac_key": f"{SECRET}-eab",
            },
            "dns": {"records": "unchecked"},
        },
        "existing": {
            "certificates": {"issuer": "existing", "cluster_issuer": "university", "install": False, "wildcard": True},
            "dns": {"records": "unchecked"},
        },
    },
    "database": {
        "bundled": {},
        "bundled without backups": {"database": {"instances": 3, "backups": {"enabled": False}}},
        "external": {
            "database": {
                "kind": "external",
                "host": "postgres.example.org",
                "portal": {
                    "database": "jhaas",
                    "user": "jhaas",
                    "password": f"{SECRET}-portal",
                    "owner": "jhaas-owner",
                    "owner_password": f"{SECRET}-owner",
                },
                "identity": {"database": "authentik", "user": "authentik", "password": f"{SECRET}-identity"},
            }
        },
        "rds": {
            "database": {
                "kind": "rds",
                "vpc_id": "vpc-1",
                "subnet_ids": ["subnet-1", "subnet-2"],
                "client_cidrs": ["10.0.0.0/16"],
            },
            "aws": AWS,
        },
    },
    "object_storage": {
        "bundled": {},
        "external": {
            "object_storage": {
                "kind": "external",
                "endpoint": "https://s3.example.org",
                **{name: _key(name) for name in ("state", "archives", "backups", "courses")},
            }
        },
        "aws": {"object_storage": {"kind": "aws"}, "aws": AWS},
    },
    "identity": {
        "authentik": {},
        "authentik open": {
            "identity": {"enrolment": "open", "terms_url": "https://example.org/terms"},
            "mail": {"host": "mail.example.org"},
        },
        "oidc": {
            "identity": {
                "kind": "oidc",
                "issuer": "https://sso.example.org/realms/university",
                "client_id": "jhaas",
                "client_secret": f"{SECRET}-oidc",
            }
        },
        "oidc with an API": {
            "identity": {
                "kind": "oidc",
                "issuer": "https://sso.example.org/application/o/jhaas/",
                "internal_url": "http://sso.campus:9000",
                "client_id": "jhaas",
                "client_secret": f"{SECRET}-oidc",
                "courses": {
                    "api": "authentik",
                    "url": "https://sso.example.org",
                    "key": {"token": f"{SECRET}-api"},
                },
            }
        },
    },
    "mail": {
        "none": {},
        "starttls": {
            "mail": {"host": "mail.example.org", "user": "jhaas", "password": f"{SECRET}-mail", "tls": "starttls"}
        },
        "tls": {"mail": {"host": "mail.example.org", "port": 465, "tls": "tls"}},
    },
    "monitoring": {
        "none": {},
        "rules": {"monitoring": {"rules": True, "dashboards": True, "labels": {"release": "prometheus"}}},
        "install": {"monitoring": {"install": True}},
    },
    "shared_storage": {
        "none": {},
        "existing": {"shared_storage": {"kind": "existing", "storage_class": "cephfs"}},
        "nfs": {"shared_storage": {"kind": "nfs", "server": "nfs.example.org", "share": "/export/jhaas"}},
        "longhorn": {"shared_storage": {"kind": "longhorn", "replicas": 3}},
    },
    "portal": {
        "public image": {},
        "private image": {"portal": {"registry": f'{{"auths": {{"registry.example.org": {{"auth": "{SECRET}"}}}}}}'}},
    },
}
"""Switch → position → what it adds to the fewest settings."""


def cases() -> list[dict[str, str]]:
    """Every two positions of every two switches occur together in one of them."""
    return pairwise({name: list(positions) for name, positions in SWITCHES.items()})


def name(case: dict[str, str]) -> str:
    """How a case is called in the list of tests."""
    return ", ".join(case.values())


def changes(case: dict[str, str]) -> dict[str, Any]:
    """What a case adds, section by section."""
    made: dict[str, Any] = {}
    for switch, position in case.items():
        for section, keys in SWITCHES[switch][position].items():
            made[section] = {**made.get(section, {}), **keys}
    return made
