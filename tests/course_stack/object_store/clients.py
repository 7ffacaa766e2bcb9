"""The store as somebody with a key sees it."""

from __future__ import annotations

from typing import Any

from course_stack.object_store import AccessKey
from course_stack.target import ObjectStoreTarget


def s3_of(target: ObjectStoreTarget, key: AccessKey) -> Any:
    """A boto3 client with this key, without retries."""
    import boto3
    from botocore.config import Config

    session: Any = boto3.session.Session()
    return session.client(
        "s3",
        endpoint_url=target.endpoint,
        region_name=target.region,
        aws_access_key_id=key.key_id,
        aws_secret_access_key=key.secret,
        config=Config(
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
            proxies={},
        ),
    )
