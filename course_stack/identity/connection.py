"""What both identity providers share: connections that are made at first use and end together."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from course_stack.trust import context

if TYPE_CHECKING:
    import httpx


class Connection:
    """`with` or `close` ends the connections. `url` is the public address; calls go to `base`, with its host name."""

    def __init__(self, url: str, base: str, headers: Mapping[str, str], timeout: float) -> None:
        self._given = {"base_url": base, "headers": {"Host": urlsplit(url).netloc, **headers}, "timeout": timeout}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if "_http" in self.__dict__:
            self._http.close()

    @cached_property
    def _http(self) -> httpx.Client:
        import httpx

        given: dict[str, Any] = self._given
        client = httpx.Client(**given, verify=context(), trust_env=False)
        weakref.finalize(self, client.close)  # for those who only let go of us
        return client
