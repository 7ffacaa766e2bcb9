"""Keys of courses at MinIO and what goes on where it ended (silo).

Buckets are plain S3; AWS's identity API is not there. A key of a course is a service account of the key in
`object-store.json`: it may do what its own policy and its parent's policy both allow, so that the parent needs no
rights over other users. It is made by the store's administrative API, whose bodies are encrypted with the caller's
secret as its client library (madmin) does: salt, algorithm, nonce, then AES-256-GCM in pieces.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import struct
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from course_stack.hub_files.trust import of_aws_clients
from course_stack.object_store import AccessKey
from course_stack.object_store.s3 import S3Store

if TYPE_CHECKING:
    from course_stack.target import ObjectStoreTarget

_API = "/minio/admin/v3"
_ABSENT = {"XMinioInvalidIAMCredentials", "XMinioServiceAccountNotFound", "XMinioAdminServiceAccountNotFound"}
_ARGON_AES, _ARGON_CHACHA, _PBKDF2_AES = 0, 1, 2
_SALT, _NONCE, _TAG = 32, 8, 16
"""Bytes."""
_PIECE = 1 << 14
_LAST = b"\x80"


class MinioStore(S3Store):
    """An `ObjectStore` whose keys are service accounts."""

    def __init__(self, target: ObjectStoreTarget, access_key_id: str, secret: str) -> None:
        super().__init__(target, access_key_id, secret)
        self._own = (access_key_id, secret)

    def delete_user(self, user: str) -> None:
        with self._doing(f"delete user {user}", passing=_ABSENT):
            self._admin("DELETE", "delete-service-account", {"accessKey": key_id(user)})

    def user_names(self, prefix: str) -> frozenset[str]:
        with self._doing("list users"):
            answer = self._admin("GET", "list-service-accounts", {"user": self._own[0]})
            accounts = json.loads(decrypted(self._own[1], answer)).get("accounts") or []
        names = (str(account.get("description", "")) for account in accounts)
        return frozenset(name for name in names if name.startswith(prefix))

    def _make_key(self, user: str, document: str) -> AccessKey:
        self.delete_user(user)
        key = AccessKey(user=user, key_id=key_id(user), secret=secrets.token_hex(20))
        wanted = {
            "policy": json.loads(document),
            "accessKey": key.key_id,
            "secretKey": key.secret,
            # the only field that is long enough for every name, and that a list shows
            "description": user,
        }
        with self._doing(f"make a key for {user}"):
            self._admin("PUT", "add-service-account", {}, encrypted(self._own[1], json.dumps(wanted).encode()))
        return key

    def _admin(self, method: str, call: str, query: dict[str, str], body: bytes = b"") -> bytes:
        """Raises botocore's errors, like every other call to the store."""
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
        from botocore.exceptions import ClientError
        from botocore.httpsession import URLLib3Session

        url = f"{str(self._target.endpoint).rstrip('/')}{_API}/{call}"
        request: Any = AWSRequest(method, f"{url}?{urlencode(query)}" if query else url, data=body)
        request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(body).hexdigest()
        signer: Any = S3SigV4Auth(Credentials(*self._own), "s3", self._target.region)
        signer.add_auth(request)
        verify: Any = of_aws_clients() or True  # the stubs know of no file
        answer = URLLib3Session(verify=verify, timeout=30).send(request.prepare())
        if answer.status_code >= 300:
            raise ClientError(_error(answer.content, answer.status_code), call)
        return bytes(answer.content)


def key_id(user: str) -> str:
    """Of a user's key; at most 20 characters go."""
    return "J" + base64.b32encode(hashlib.sha256(user.encode()).digest()).decode()[:19]


def _error(content: bytes, status: int) -> Any:
    try:
        told = json.loads(content)
    except ValueError:
        told = {}
    found = {"Code": str(told.get("Code", status)), "Message": str(told.get("Message", ""))}
    return {"Error": found, "ResponseMetadata": {"HTTPStatusCode": status}}


def encrypted(password: str, content: bytes) -> bytes:
    """As madmin's `EncryptData`, by the algorithm that asks for least."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, nonce = secrets.token_bytes(_SALT), secrets.token_bytes(_NONCE)
    cipher = AESGCM(_derived(_PBKDF2_AES, password, salt))
    made = [salt, bytes([_PBKDF2_AES]), nonce]
    tag = cipher.encrypt(_counted(nonce, 0), b"", b"")
    pieces = [content[start : start + _PIECE] for start in range(0, len(content), _PIECE)] or [b""]
    for number, piece in enumerate(pieces, 1):
        mark = _LAST if number == len(pieces) else b"\0"
        made.append(cipher.encrypt(_counted(nonce, number), piece, mark + tag))
    return b"".join(made)


def decrypted(password: str, content: bytes) -> bytes:
    """As madmin's `DecryptData`. Raises cryptography's `InvalidTag` for what was encrypted with another password."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

    salt, algorithm, nonce = content[:_SALT], content[_SALT], content[_SALT + 1 : _SALT + 1 + _NONCE]
    rest = content[_SALT + 1 + _NONCE :]
    key = _derived(algorithm, password, salt)
    cipher = ChaCha20Poly1305(key) if algorithm == _ARGON_CHACHA else AESGCM(key)
    tag = cipher.encrypt(_counted(nonce, 0), b"", b"")
    size = _PIECE + _TAG
    pieces = [rest[start : start + size] for start in range(0, len(rest), size)]
    return b"".join(
        cipher.decrypt(_counted(nonce, number), piece, (_LAST if number == len(pieces) else b"\0") + tag)
        for number, piece in enumerate(pieces, 1)
    )


def _counted(nonce: bytes, number: int) -> bytes:
    return nonce + struct.pack("<I", number)


def _derived(algorithm: int, password: str, salt: bytes) -> bytes:
    if algorithm == _PBKDF2_AES:
        return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 8192, 32)
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    return Argon2id(salt=salt, length=32, iterations=1, lanes=4, memory_cost=64 * 1024).derive(password.encode())
