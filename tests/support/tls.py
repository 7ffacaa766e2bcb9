"""An authority that nobody knows, and a server that shows a certificate of it."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Authority:
    """Signs certificates."""

    def __init__(self, name: str = "Authority of a test") -> None:
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())

    @cached_property
    def pem(self) -> str:
        """Its own certificate."""
        own = x509.BasicConstraints(ca=True, path_length=0)
        made = self._begun(self._name, self._key.public_key()).add_extension(own, critical=True)
        # newer Pythons want it said
        return _text(made.add_extension(_SIGNS, critical=True).sign(self._key, hashes.SHA256()))

    def signed(self, *hosts: str) -> str:
        """A certificate for host names and addresses, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [
            x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts
        ]
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hosts[0])])
        made = self._begun(subject, key.public_key()).add_extension(x509.SubjectAlternativeName(names), critical=False)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return _text(made.sign(self._key, hashes.SHA256())) + private.decode()

    def _begun(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(issuer, critical=False)
        )


_SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _text(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def by_tls(server: ThreadingHTTPServer, authority: Authority, folder: Path, *hosts: str) -> None:
    """Let a server that does not run yet show a certificate of this authority."""
    path = folder / "server.pem"
    path.write_text(authority.signed("127.0.0.1", *hosts))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    # each connection greets in its own thread: one that breaks off does not end the server
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)


class _Refusal(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815 (as the base class calls them)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name of the base class)
        """Quiet."""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not believe us hangs up."""


@contextmanager
def refusing(authority: Authority, folder: Path) -> Iterator[str]:
    """Address of a server that says no (403) to whoever believes its certificate."""
    server = _Quiet(("127.0.0.1", 0), _Refusal)
    by_tls(server, authority, folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def before(place: tuple[str, int], authority: Authority, folder: Path, host: str) -> Iterator[str]:
    """Address at which a service that speaks in clear text is reached by TLS, with a certificate for `host`."""
    certificate = folder / f"{host}.pem"
    certificate.write_text(authority.signed(host))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Way(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as front,
                socket.create_connection(place) as back,
            ):
                there = threading.Thread(target=_pass, args=(front, back), daemon=True)
                there.start()
                _pass(back, front)
                there.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    server = Server((host, 0), Way)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"https://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _pass(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
