"""How a client proves itself and checks the brokers: TLS and SASL from Kafka's client properties.

Reads `security.protocol`, `ssl.*` with PEM files, and `sasl.*` with PLAIN and SCRAM; whatever it
does not know it refuses, rather than connect with less protection than was asked for. Must never
log or show a secret. Kerberos, OAUTHBEARER and Java keystores are not supported.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import os
import shlex
import ssl
import stat
from collections.abc import Callable, Mapping
from dataclasses import field

from broker.protocol.api_keys import ApiKey
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import ErrorCode
from broker.protocol.lazy_dataclass import dataclass
from broker.protocol.network import AsyncioNetwork, Network, ProtocolFactory
from broker.protocol.struct import Struct
from broker.protocol.tls_words import NO_TLS, tls_words
from clusters.admin.errors import AdminError, AuthenticationRefused, code_words
from clusters.nearest import nearest

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
SECRET_PROPERTIES = frozenset({"sasl.password", "ssl.key.password"})
PROPERTIES = (
    "security.protocol",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
    "sasl.mechanism",
    "sasl.username",
    "sasl.password",
)
SCRAM_ITERATIONS_MIN = 4096
SCRAM_ITERATIONS_MAX = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What `read_security` understood. `password` never shows in a repr.

    Equal are those that prove the same; `tls_digest` stands for the contents of the TLS files.
    """

    protocol: str
    tls: ssl.SSLContext | None = field(default=None, compare=False)
    tls_digest: str = ""
    mechanism: str | None = None
    username: str = ""
    password: str = field(default="", repr=False)

    def network(self) -> Network:
        """The door to the brokers: with TLS when it was asked for."""
        return AsyncioNetwork() if self.tls is None else TlsNetwork(self.tls)


class TlsNetwork(AsyncioNetwork):
    """Connects with TLS; the name of the host is checked as the context says."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    async def connect(self, host: str, port: int, factory: ProtocolFactory):  # type: ignore[no-untyped-def]
        """Connect and shake hands; raises OSError, also when the certificate is not trusted."""
        try:
            transport, protocol = await asyncio.get_running_loop().create_connection(
                factory, host, port, ssl=self._context
            )
        except ssl.SSLError as error:
            raise OSError(0, tls_words(error)) from error
        except ConnectionResetError as error:
            raise OSError(0, f"it ended the connection amid the TLS handshake; {NO_TLS}") from error
        return transport, protocol


def check_properties(properties: Mapping[str, str]) -> None:
    """Refuse properties that are not known or values that are not supported. Raises AdminError."""
    for name in properties:
        if name not in PROPERTIES:
            near = nearest(name, PROPERTIES)
            hint = f'did you mean "{near}"?' if near else f"there are {', '.join(PROPERTIES)}"
            raise AdminError(f'The client property "{name}" is not supported; {hint}')
    protocol = properties.get("security.protocol", "PLAINTEXT").upper()
    if protocol not in PROTOCOLS:
        raise AdminError(
            f"security.protocol {protocol} is not supported; write one of {', '.join(PROTOCOLS)}"
        )
    mechanism = properties.get("sasl.mechanism", "PLAIN").upper()
    if protocol.startswith("SASL") and mechanism not in MECHANISMS:
        raise AdminError(
            f"sasl.mechanism {mechanism} is not supported; write one of {', '.join(MECHANISMS)}"
        )


def read_security(properties: Mapping[str, str]) -> Security | None:
    """Security from properties with their secrets filled in; None when nothing was asked for.

    Raises AdminError naming the property, or the file that cannot be read.
    """
    check_properties(properties)
    protocol = properties.get("security.protocol", "PLAINTEXT").upper()
    if protocol == "PLAINTEXT":
        return None
    tls = _tls(properties) if protocol in {"SSL", "SASL_SSL"} else None
    digest = _digest(properties) if tls is not None else ""
    if not protocol.startswith("SASL"):
        return Security(protocol=protocol, tls=tls, tls_digest=digest)
    missing = [name for name in ("sasl.username", "sasl.password") if not properties.get(name)]
    if missing:
        raise AdminError(f"{' and '.join(missing)} must be set for security.protocol {protocol}")
    return Security(
        protocol=protocol,
        tls=tls,
        tls_digest=digest,
        mechanism=properties.get("sasl.mechanism", "PLAIN").upper(),
        username=properties["sasl.username"],
        password=properties["sasl.password"],
    )


def check_private(path: str, what: str) -> None:
    """Raise AdminError when everybody on this machine may read a file; OSError without it."""
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise AdminError(
            f"{what} {path} may be read by everybody on this machine (mode {mode:04o}); "
            f"nothing was sent. Run: chmod 600 {shlex.quote(path)}"
        )


def _tls(properties: Mapping[str, str]) -> ssl.SSLContext:
    ca = properties.get("ssl.ca.location")
    certificate = properties.get("ssl.certificate.location")
    try:
        for path in (ca, certificate, properties.get("ssl.key.location")):
            if path is not None:
                os.stat(path)
        key = properties.get("ssl.key.location", certificate)
        if key is not None and certificate is not None:
            check_private(key, "The key file")
        context = ssl.create_default_context(cafile=ca)
        if properties.get("ssl.endpoint.identification.algorithm", "https") == "":
            context.check_hostname = False
        if certificate is not None:
            # Without a password a terminal would be asked; a command must not hang on that.
            password = properties.get("ssl.key.password", "")
            context.load_cert_chain(
                certificate, properties.get("ssl.key.location"), lambda: password
            )
    except ssl.SSLError as error:
        raise AdminError(
            f"The TLS files cannot be used: {error.reason or error}; expected is PEM "
            "(convert Java keystores with keytool and openssl)"
        ) from None
    except OSError as error:
        raise AdminError(
            f"{error.filename or 'A TLS file'} cannot be read: {error.strerror}"
        ) from None
    return context


def _digest(properties: Mapping[str, str]) -> str:
    """What differs when a certificate, a key or how they are used does."""
    found = hashlib.sha256()
    for name in (each for each in PROPERTIES if each.startswith("ssl.")):
        value = properties.get(name, "")
        found.update(f"{name}={value}\0".encode())
        if name.endswith(".location") and value:
            with contextlib.suppress(OSError), open(value, "rb") as file:
                found.update(hashlib.sha256(file.read()).digest())
    return found.hexdigest()


async def authenticate(connection: BrokerConnection, security: Security, timeout_ms: int) -> int:
    """Prove who we are (KIP-43, KIP-152), on a fresh connection or anew on an old one (KIP-368).

    Returns the milliseconds until it has to be done again, 0 for never. Raises
    AuthenticationRefused, or WireError when the broker does not answer.
    """
    if security.mechanism is None:
        return 0
    end = asyncio.get_running_loop().time() + timeout_ms / 1000

    def left_ms() -> int:
        return max(1, round((end - asyncio.get_running_loop().time()) * 1000))

    def refused(reason: str) -> AuthenticationRefused:
        connection.close()
        who = f'{security.mechanism} as "{security.username}"'
        return AuthenticationRefused(connection.address, f"{who}: {reason}")

    answer = await connection.request(
        ApiKey.SASL_HANDSHAKE, Struct(mechanism=security.mechanism), timeout_ms=left_ms()
    )
    if answer.error_code == ErrorCode.illegal_sasl_state:
        plain = "SSL" if security.tls is not None else "PLAINTEXT"
        raise refused(f"this listener knows no SASL; set security.protocol to {plain}")
    if answer.error_code != ErrorCode.none:
        served = ", ".join(answer.mechanisms) or "none"
        raise refused(
            f"the broker does not serve this mechanism; it serves {served} (sasl.mechanism)"
        )
    lifetime_ms = 0

    async def exchange(content: bytes) -> bytes:
        nonlocal lifetime_ms
        told = await connection.request(
            ApiKey.SASL_AUTHENTICATE, Struct(auth_bytes=content), timeout_ms=left_ms()
        )
        if told.error_code != ErrorCode.none:
            raise refused(code_words(told.error_code, told.error_message))
        lifetime_ms = int(told.get("session_lifetime_ms", 0))
        return bytes(told.auth_bytes)

    if security.mechanism == "PLAIN":
        await exchange(f"\0{security.username}\0{security.password}".encode())
        return lifetime_ms
    try:
        scram = Scram(security.mechanism, security.username, security.password)
        server_first = await exchange(scram.first())
        server_final = await exchange(scram.final(server_first))
        scram.check(server_final)
    except ValueError as error:
        raise refused(f"the broker's answer is not right: {error}") from None
    return lifetime_ms


class Scram:
    """The client's half of SCRAM (RFC 5802): first, final, check. Raises ValueError."""

    def __init__(
        self, mechanism: str, username: str, password: str, nonce: Callable[[], bytes] | None = None
    ) -> None:
        self._hash = mechanism.removeprefix("SCRAM-").replace("-", "").lower()
        self._password = password.encode()
        made = nonce() if nonce is not None else base64.b64encode(os.urandom(24))
        self._nonce = made.decode()
        name = username.replace("=", "=3D").replace(",", "=2C")
        self._first_bare = f"n={name},r={self._nonce}"
        self._signature = b""

    def first(self) -> bytes:
        """The first message."""
        return f"n,,{self._first_bare}".encode()

    def final(self, server_first: bytes) -> bytes:
        """The proof for the server's challenge."""
        parts = _parts(server_first)
        nonce, iterations = parts.get("r", ""), int(parts.get("i", "0"))
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ValueError("another nonce")
        if not SCRAM_ITERATIONS_MIN <= iterations <= SCRAM_ITERATIONS_MAX:
            raise ValueError(f"{iterations} iterations")
        salt = base64.b64decode(parts.get("s", ""))
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, salt, iterations)
        without_proof = f"c=biws,r={nonce}"
        message = f"{self._first_bare},{server_first.decode()},{without_proof}".encode()
        client_key = hmac.digest(salted, b"Client Key", self._hash)
        stored_key = hashlib.new(self._hash, client_key).digest()
        proof = bytes(
            a ^ b
            for a, b in zip(client_key, hmac.digest(stored_key, message, self._hash), strict=True)
        )
        server_key = hmac.digest(salted, b"Server Key", self._hash)
        self._signature = hmac.digest(server_key, message, self._hash)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def check(self, server_final: bytes) -> None:
        """Whether the server knows the password, too."""
        told = base64.b64decode(_parts(server_final).get("v", ""))
        if not hmac.compare_digest(told, self._signature):
            raise ValueError("it does not prove that it knows the password")


def _parts(message: bytes) -> dict[str, str]:
    parts = (part.partition("=") for part in message.decode().split(","))
    return {name: value for name, _, value in parts}
