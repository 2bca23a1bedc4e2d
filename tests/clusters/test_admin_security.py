"""TLS, SASL and pinned clusters: what the admin client proves, checks and refuses."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
import subprocess

import pytest

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from clusters.admin import AdminClient, AdminError, ClusterUnreachable, WrongCluster
from clusters.admin.security import Scram, read_security
from clusters.errors import StateError
from clusters.secret_sources import check_source, secret
from shell.session import Doors

PASSWORD = "pencil"


def test_scram_is_the_example_of_rfc_7677():
    scram = Scram("SCRAM-SHA-256", "user", PASSWORD, lambda: b"rOprNGfwEbeRWgbNEkqO")
    assert scram.first() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    final = scram.final(
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    assert final == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    scram.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    with pytest.raises(ValueError, match="does not prove"):
        scram.check(b"v=" + base64.b64encode(bytes(32)))
    with pytest.raises(ValueError, match="another nonce"):
        scram.final(b"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"security.protokol": "SSL"}, 'did you mean "security.protocol"'),
        ({"security.protocol": "TLS"}, "write one of PLAINTEXT, SSL"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "GSSAPI"}, "GSSAPI is not supported"),
        ({"security.protocol": "SASL_PLAINTEXT"}, "sasl.username and sasl.password must be set"),
        ({"security.protocol": "SSL", "ssl.ca.location": "/nowhere"}, "/nowhere cannot be read"),
    ],
)
def test_what_is_not_supported_is_refused_and_named(properties, said):
    with pytest.raises(AdminError, match=said):
        read_security(properties)


def serve_sasl(server, mechanisms, exchange):
    server.serve(
        ApiKey.SASL_HANDSHAKE,
        0,
        1,
        lambda body, version: Struct(
            error_code=ErrorCode.none
            if body.mechanism in mechanisms
            else ErrorCode.unsupported_sasl_mechanism,
            mechanisms=mechanisms,
        ),
    )
    server.serve(
        ApiKey.SASL_AUTHENTICATE, 0, 2, lambda body, version: exchange(bytes(body.auth_bytes))
    )


def sasl(mechanism, password=PASSWORD):
    return read_security(
        {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": mechanism,
            "sasl.username": "user",
            "sasl.password": password,
        }
    )


async def test_plain_proves_itself_before_anything_else(fake_cluster):
    proofs = []

    def exchange(content):
        proofs.append(content)
        ok = content == b"\0user\0pencil"
        code = ErrorCode.none if ok else ErrorCode.sasl_authentication_failed
        return Struct(error_code=code, error_message=None if ok else "wrong password")

    for server in fake_cluster.brokers.values():
        serve_sasl(server, ["PLAIN"], exchange)
    async with AdminClient(fake_cluster.bootstrap, security=sasl("PLAIN")) as admin:
        assert (await admin.cluster()).cluster_id == fake_cluster.cluster_id
    asked = [key for key, _ in fake_cluster.brokers[1].requests]
    assert asked[:3] == [ApiKey.API_VERSIONS, ApiKey.SASL_HANDSHAKE, ApiKey.SASL_AUTHENTICATE]
    assert "pencil" not in repr(sasl("PLAIN"))
    async with AdminClient(fake_cluster.bootstrap, security=sasl("PLAIN", "wrong")) as admin:
        with pytest.raises(ClusterUnreachable, match='PLAIN as "user": wrong password') as raised:
            await admin.topics()
    assert "wrong\0" not in str(raised.value)
    async with AdminClient(fake_cluster.bootstrap, security=sasl("SCRAM-SHA-512")) as admin:
        with pytest.raises(ClusterUnreachable, match="it serves PLAIN"):
            await admin.topics()


async def test_scram_proves_both_sides(fake_cluster):
    salt, iterations, state = b"salt-of-the-test", 4096, {}

    def exchange(content):
        salted = hashlib.pbkdf2_hmac("sha512", PASSWORD.encode(), salt, iterations)
        if content.startswith(b"n,,"):
            state["bare"] = content[3:]
            nonce = content.rpartition(b"r=")[2] + b"server"
            salt_text = base64.b64encode(salt)
            state["first"] = b"r=%s,s=%s,i=%d" % (nonce, salt_text, iterations)
            return Struct(error_code=ErrorCode.none, auth_bytes=state["first"])
        message = b",".join([state["bare"], state["first"], content.rpartition(b",p=")[0]])
        key = hmac.digest(salted, b"Server Key", "sha512")
        proof = base64.b64encode(hmac.digest(key, message, "sha512"))
        return Struct(error_code=ErrorCode.none, auth_bytes=b"v=" + proof)

    for server in fake_cluster.brokers.values():
        serve_sasl(server, ["SCRAM-SHA-512"], exchange)
    async with AdminClient(fake_cluster.bootstrap, security=sasl("SCRAM-SHA-512")) as admin:
        assert (await admin.cluster()).cluster_id == fake_cluster.cluster_id
    async with AdminClient(fake_cluster.bootstrap, security=sasl("SCRAM-SHA-512", "x")) as admin:
        with pytest.raises(ClusterUnreachable, match="does not prove that it knows the password"):
            await admin.topics()


@pytest.fixture
def certificate(tmp_path):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-keyout", str(key), "-out", str(cert), "-days", "2"]
    words += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    return key, cert


async def test_tls_is_spoken_and_a_stranger_is_refused(fake_server, certificate):
    key, cert = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    cluster_port: list[int] = []

    def metadata(body, version):
        broker = Struct(node_id=1, host="127.0.0.1", port=cluster_port[0], rack=None)
        return Struct(brokers=[broker], cluster_id="tls", controller_id=1, topics=[])

    fake_server.serve(ApiKey.METADATA, 0, 13, metadata)

    async def relay(reader, writer):
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", fake_server.port)

        async def pump(source, target):
            while data := await source.read(65536):
                target.write(data)
            target.close()

        await asyncio.gather(
            pump(reader, inner_writer), pump(inner_reader, writer), return_exceptions=True
        )

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    cluster_port.append(port)
    try:
        trusted = read_security({"security.protocol": "SSL", "ssl.ca.location": str(cert)})
        async with AdminClient([f"127.0.0.1:{port}"], security=trusted) as admin:
            assert (await admin.cluster()).cluster_id == "tls"
        strange = read_security({"security.protocol": "SSL"})
        async with AdminClient([f"127.0.0.1:{port}"], security=strange) as admin:
            with pytest.raises(ClusterUnreachable, match="certificate is not trusted"):
                await admin.topics()
    finally:
        server.close()


async def test_another_cluster_behind_the_name_is_refused(fake_cluster):
    async with AdminClient(fake_cluster.bootstrap, cluster_id=fake_cluster.cluster_id) as admin:
        assert await admin.topics() == []
    with pytest.raises(WrongCluster, match="fake-cluster-id-000001, but other was expected"):
        async with AdminClient(fake_cluster.bootstrap, cluster_id="other"):
            pass


def test_secrets_come_from_where_they_are_kept(tmp_path):
    path = tmp_path / "password"
    path.write_text("from a file\n")
    path.chmod(0o644)
    with pytest.raises(StateError, match=r"may be read by everybody.* chmod 600"):
        secret("p", f"file:{path}", {})
    path.chmod(0o600)
    assert secret("p", f"file:{path}", {}) == "from a file"
    assert secret("p", "env:P", {"P": "from the environment"}) == "from the environment"
    assert secret("p", "command:printf 'from a%s' ' program'", {"PATH": "/usr/bin:/bin"}) == (
        "from a program"
    )
    for source, said in {
        "env:P": "the variable P is not set",
        "file:/nowhere/at/all": "cannot be read from /nowhere",
        "command:false": "ended with code 1",
        "command:true": "printed nothing",
    }.items():
        with pytest.raises(StateError, match=said):
            secret("p", source, {"PATH": "/usr/bin:/bin"})
    with pytest.raises(StateError) as raised:
        check_source("hunter2")
    assert "hunter2" not in str(raised.value)


def test_a_command_that_tells_a_secret_too_late_is_ended():
    with pytest.raises(StateError, match=r"did not end within 0\.2 s"):
        secret("p", "command:sleep 30", {"PATH": "/usr/bin:/bin"}, 0.2)


def test_what_a_command_told_is_not_asked_for_again_at_once(tmp_path):
    doors, asked = Doors(), tmp_path / "asked"
    doors.environ = {"PATH": "/usr/bin:/bin"}
    source = f"command:sh -c 'echo once >> {asked}; echo told'"
    assert [doors.secret("p", source, 5) for _ in range(3)] == ["told"] * 3
    assert asked.read_text() == "once\n"
