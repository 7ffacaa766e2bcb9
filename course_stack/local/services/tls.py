"""A certificate authority for one service on one machine: who has its files belongs to the service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from course_stack.local.files import private_folder, write_file

LIFETIME = timedelta(days=3650)


def ensure_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Paths of the authority's certificate, of one node's certificate for 127.0.0.1 (valid as server and as client)
    and of its key. Made once; the authority's own key is never stored, so that nothing else can join."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    authority, certificate, key = folder / "authority.crt", folder / "node.crt", folder / "node.key"
    if key.exists():
        return authority, certificate, key

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def builder(subject: str, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("jhaas"))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + LIFETIME)
        )

    authority_key = ec.generate_private_key(ec.SECP256R1())
    node_key = ec.generate_private_key(ec.SECP256R1())
    signed_authority = (
        builder("jhaas", authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    signed_node = (
        builder("node", node_key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    private_folder(folder)
    write_file(authority, signed_authority.public_bytes(Encoding.PEM).decode())
    write_file(certificate, signed_node.public_bytes(Encoding.PEM).decode())
    # the key is last: where it exists, all three do
    write_file(key, node_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
    return authority, certificate, key
