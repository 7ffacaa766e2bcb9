"""Records of the host names at AWS Route 53. Imported only where it is chosen."""

from __future__ import annotations

from ipaddress import ip_address

import pulumi
from pulumi_aws import Provider, ProviderDefaultTagsArgs
from pulumi_aws.route53 import Record

from config import Aws, Route53

TTL = 300
"""Seconds."""


def host_records(
    hosts: dict[str, str], address: pulumi.Output[str], aws: Aws, opts: pulumi.ResourceOptions
) -> tuple[Record, ...]:
    """A record for each host, in the hosted zone that it is given with, leading to the address."""
    tags = ProviderDefaultTagsArgs(tags=aws.tags) if aws.tags else None
    account = Provider("aws-dns", region=aws.region, profile=aws.profile, default_tags=tags, opts=opts)
    inside = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(provider=account))
    return tuple(
        Record(
            host,
            name=host,
            zone_id=zone,
            type=address.apply(record_type),
            records=[address],
            ttl=TTL,
            # what a zone had under this name before is the site's to take away, not ours
            allow_overwrite=False,
            opts=inside,
        )
        for host, zone in hosts.items()
    )


def zones(hosts: tuple[str, ...], hub_domain: str, provider: Route53) -> dict[str, str]:
    """The hosted zone of each host."""
    hubs = provider.hub_zone_id or provider.zone_id
    return {host: hubs if host.endswith(f".{hub_domain}") else provider.zone_id for host in hosts}


def record_type(address: str) -> str:
    """What leads to this address: `A`, `AAAA`, or `CNAME` for a name."""
    try:
        return "A" if ip_address(address).version == 4 else "AAAA"
    except ValueError:
        return "CNAME"
