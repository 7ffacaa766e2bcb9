"""Where states are kept: a folder or an S3 bucket, behind one small interface."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from automation.embedded.errors import EngineError, Unsupported
from course_stack.hub_files.trust import of_aws_clients


class StoreError(EngineError):
    """The store refused or could not be reached."""


class NotThere(Exception):
    """There is no object of this key."""


class Store(Protocol):
    """Objects by key (`.pulumi/stacks/PROJECT/STACK.json`). Failures raise `StoreError`, missing objects `NotThere`."""

    def list(self, folder: str, *, deep: bool = False) -> list[str]:
        """Keys directly in the folder, sorted; with `deep` also those below it. Folder markers (keys that end in `/`)
        are never among them."""
        ...

    def get(self, key: str) -> bytes: ...

    def put(self, key: str, content: bytes) -> None:
        """Replaces the object as a whole: a reader sees the old or the new content."""
        ...

    def copy(self, key: str, to: str) -> None: ...

    def delete(self, key: str) -> None:
        """Succeeds when there is nothing to delete."""
        ...

    def exists(self, key: str) -> bool: ...

    def address(self, key: str) -> str:
        """The object's address for people, in the CLI's form."""
        ...


_OTHER_FORMS = (
    "PULUMI_DIY_BACKEND_GZIP",
    "PULUMI_DIY_BACKEND_ZSTD",
    "PULUMI_DIY_BACKEND_RETAIN_CHECKPOINTS",
    "PULUMI_DIY_BACKEND_LEGACY_LAYOUT",
    "PULUMI_SELF_MANAGED_STATE_GZIP",
    "PULUMI_RETAIN_CHECKPOINTS",
)
"""Variables that make the CLI write another kind of store: ignoring them would hide stacks from one of the two."""


def open_store(env: Mapping[str, str]) -> Store:
    """The store of `PULUMI_BACKEND_URL`; an address of another form is an `EngineError`."""
    for name in _OTHER_FORMS:
        if env.get(name, "").lower() in ("1", "true", "yes"):
            raise Unsupported(f"the setting {name}")
    url = env.get("PULUMI_BACKEND_URL", "")
    scheme = url.partition("://")[0]
    if scheme == "file":
        return FileStore(url, env)
    if scheme == "s3":
        return S3Store(url, env)
    if not url:
        raise EngineError("PULUMI_BACKEND_URL is not set: give the address of the state store (s3://… or file://…)")
    raise Unsupported(f"state stores of the kind {scheme}://")


class FileStore:
    """A folder; `NAME.attrs` beside a file is a note of the CLI's file store and is not an object."""

    def __init__(self, url: str, env: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        query.setdefault("no_tmp_dir", "true")
        path = url.removeprefix("file://").partition("?")[0]
        if path.startswith("~"):
            path = env.get("HOME", "~") + path[1:]
        self._root = Path(path).absolute()
        self._query = urlencode(sorted(query.items()))
        if not self._root.is_dir():
            raise StoreError(f"unable to open state directory {url!r}: there is no folder {self._root}")

    def list(self, folder: str, *, deep: bool = False) -> list[str]:
        with _file_errors(self._root / folder):
            found = (self._root / folder).rglob("*") if deep else (self._root / folder).glob("*")
            return sorted(
                path.relative_to(self._root).as_posix()
                for path in found
                if path.suffix not in (".attrs", ".part") and path.is_file()
            )

    def get(self, key: str) -> bytes:
        with _file_errors(self._root / key):
            return (self._root / key).read_bytes()

    def put(self, key: str, content: bytes) -> None:
        path = self._root / key
        with _file_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
            try:
                part.write_bytes(content)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            self._attributes(path).unlink(missing_ok=True)  # it holds the old content's checksum

    def copy(self, key: str, to: str) -> None:
        self.put(to, self.get(key))

    def delete(self, key: str) -> None:
        path = self._root / key
        with _file_errors(path):
            path.unlink(missing_ok=True)
            self._attributes(path).unlink(missing_ok=True)

    def exists(self, key: str) -> bool:
        return (self._root / key).is_file()

    def address(self, key: str) -> str:
        return f"file://{self._root}/{key}?{self._query}"

    def _attributes(self, path: Path) -> Path:
        return path.with_name(path.name + ".attrs")


@contextlib.contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotThere(str(path)) from error
    except OSError as error:
        raise StoreError(f"the state store failed at {path}: {error.strerror}") from error


_YES = ("1", "t", "T", "true", "TRUE", "True")
_NO = ("0", "f", "F", "false", "FALSE", "False")
_FLAGS = ("use_path_style", "disable_https", "anonymous", "hostname_immutable", "dualstack", "fips", "accelerate")
_TEXTS = ("region", "profile", "endpoint", "request_checksum_calculation", "response_checksum_validation")
_IGNORED = ("awssdk", "hostname_immutable", "rate_limiter_capacity")
_OLD_NAMES = {"s3ForcePathStyle": "use_path_style", "disableSSL": "disable_https"}
_REFUSED = ("role", "ssetype", "kmskeyid")


class S3Address:
    """The parts of `s3://BUCKET/PREFIX?…`; a parameter that the CLI does not know is an `EngineError`, as there."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.bucket = parts.netloc
        prefix = parts.path.strip("/")
        self.prefix = f"{prefix}/" if prefix else ""
        self.texts: dict[str, str] = {}
        self.flags: dict[str, bool] = {}
        if not self.bucket:
            raise EngineError(f"PULUMI_BACKEND_URL {url!r} names no bucket: write s3://BUCKET/PREFIX?…")
        for given, value in parse_qsl(parts.query, keep_blank_values=True):
            name = _OLD_NAMES.get(given, given)
            if name in _FLAGS:
                if value not in (*_YES, *_NO):
                    raise EngineError(
                        f"invalid value for query parameter {given!r}: {value!r} is neither true nor false"
                    )
                self.flags[name] = value in _YES
            elif name in _TEXTS:
                self.texts[name] = value
            elif name in _REFUSED:
                raise Unsupported(f"the S3 parameter {given!r} of PULUMI_BACKEND_URL")
            elif name not in _IGNORED:
                raise EngineError(f"unable to open bucket {url!r}: unknown query parameter {given!r}")
        endpoint = self.texts.get("endpoint")
        if endpoint and "://" not in endpoint:
            endpoint = f"{'http' if self.flags.get('disable_https') else 'https'}://{endpoint}"
            self.texts["endpoint"] = endpoint
        if endpoint:
            self.texts.setdefault("request_checksum_calculation", "when_required")
        self._query = parts.query

    def address(self, key: str) -> str:
        path = quote(PurePosixPath("/", self.prefix, key).as_posix())
        return f"s3://{self.bucket}{path}{'?' + self._query if self._query else ''}"


class S3Store:
    """A bucket, below a prefix. Credentials are found as the CLI finds them, in the environment handed to it."""

    def __init__(self, url: str, env: Mapping[str, str]) -> None:
        self._at = S3Address(url)
        self._client = s3_client(self._at, env)
        self._where = self._at.texts.get("endpoint") or "AWS"

    def list(self, folder: str, *, deep: bool = False) -> list[str]:
        found: list[str] = []
        prefix = f"{self._at.prefix}{folder}/"
        options = {} if deep else {"Delimiter": "/"}
        with self._errors(folder):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._at.bucket, Prefix=prefix, **options
            )
            for page in pages:
                found += [item["Key"].removeprefix(self._at.prefix) for item in page.get("Contents", ())]
        return sorted(key for key in found if not key.endswith("/"))

    def get(self, key: str) -> bytes:
        with self._errors(key):
            answer = self._client.get_object(Bucket=self._at.bucket, Key=self._at.prefix + key)
            content: bytes = answer["Body"].read()
            return content

    def put(self, key: str, content: bytes) -> None:
        with self._errors(key):
            self._client.put_object(Bucket=self._at.bucket, Key=self._at.prefix + key, Body=content)

    def copy(self, key: str, to: str) -> None:
        source = {"Bucket": self._at.bucket, "Key": self._at.prefix + key}
        with self._errors(key):
            self._client.copy_object(Bucket=self._at.bucket, Key=self._at.prefix + to, CopySource=source)

    def delete(self, key: str) -> None:
        with self._errors(key), contextlib.suppress(NotThere):
            self._client.delete_object(Bucket=self._at.bucket, Key=self._at.prefix + key)

    def exists(self, key: str) -> bool:
        try:
            with self._errors(key):
                self._client.head_object(Bucket=self._at.bucket, Key=self._at.prefix + key)
        except NotThere:
            return False
        return True

    def address(self, key: str) -> str:
        return self._at.address(key)

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        from botocore import exceptions

        try:
            yield
        except exceptions.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in ("NoSuchKey", "404", "NotFound"):
                raise NotThere(key) from error
            raise StoreError(self._refusal(code, error)) from error
        except exceptions.NoCredentialsError as error:
            raise StoreError(
                f"no credentials for the S3 store {self._where}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "AWS_SHARED_CREDENTIALS_FILE"
            ) from error
        except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
            raise StoreError(
                f"the S3 store {self._where} cannot be reached: is it running, is the address right?"
            ) from error
        except exceptions.BotoCoreError as error:
            raise StoreError(f"the S3 store {self._where} failed: {error}") from error

    def _refusal(self, code: str, error: Exception) -> str:
        if code == "NoSuchBucket":
            return f"the bucket {self._at.bucket!r} does not exist at {self._where}: create it, or name another"
        if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "403", "Forbidden", "ExpiredToken"):
            return f"the S3 store {self._where} refused the credentials for bucket {self._at.bucket!r} ({code})"
        return f"the S3 store {self._where} failed: {error}"


_clients: dict[tuple[str | None, ...], Any] = {}
_clients_lock = threading.Lock()


def s3_client(at: S3Address, env: Mapping[str, str]) -> Any:
    """One client for each address and credentials: making one takes a tenth of a second."""
    names = (
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CONFIG_FILE", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION",
    )  # fmt: skip
    given = {name: env[name] for name in names if env.get(name)}
    place = (*sorted(at.texts.items()), *sorted(at.flags.items()))
    written = [
        str(Path(file).stat().st_mtime_ns) for name in names if name.endswith("_FILE") and (file := _file(given, name))
    ]
    key = (str(place), of_aws_clients(), *written, *(given.get(name) for name in names))
    with _clients_lock:
        if key not in _clients:
            _clients[key] = _make_client(at, given)
        return _clients[key]


def _file(given: Mapping[str, str], name: str) -> str | None:
    path = given.get(name)
    return path if path and Path(path).is_file() else None


def _make_client(at: S3Address, given: Mapping[str, str]) -> Any:
    import boto3
    import botocore.session
    from botocore import UNSIGNED
    from botocore.config import Config

    session = botocore.session.Session(profile=at.texts.get("profile") or given.get("AWS_PROFILE"))
    for variable, name in (("credentials_file", "AWS_SHARED_CREDENTIALS_FILE"), ("config_file", "AWS_CONFIG_FILE")):
        if name in given:
            session.set_config_variable(variable, given[name])
    if "AWS_ACCESS_KEY_ID" in given and "AWS_SECRET_ACCESS_KEY" in given and "profile" not in at.texts:
        session.set_credentials(
            given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"], given.get("AWS_SESSION_TOKEN")
        )
    options: dict[str, Any] = {
        "retries": {"mode": "standard", "total_max_attempts": 4},
        "connect_timeout": 5,
        "read_timeout": 60,
        "max_pool_connections": 32,
        "s3": {
            "addressing_style": "path" if at.flags.get("use_path_style") else "auto",
            "use_accelerate_endpoint": at.flags.get("accelerate", False),
        },
        "use_dualstack_endpoint": at.flags.get("dualstack"),
        "use_fips_endpoint": at.flags.get("fips"),
    }
    for name in ("request_checksum_calculation", "response_checksum_validation"):
        if name in at.texts:
            options[name] = at.texts[name]
    if at.flags.get("anonymous"):
        options["signature_version"] = UNSIGNED
    return boto3.Session(botocore_session=session).client(
        "s3",
        region_name=at.texts.get("region") or given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION"),
        endpoint_url=at.texts.get("endpoint") or None,
        use_ssl=not at.flags.get("disable_https", False),
        verify=of_aws_clients(),
        config=Config(**options),
    )


def remove_all(store: Store, folder: str, wanted: Callable[[str], bool] = lambda _: True) -> None:
    """Delete every object directly in the folder."""
    for key in store.list(folder):
        if wanted(key):
            store.delete(key)
