"""One secured Apache Kafka for the run, the contexts that lead to it, and `logctl` to ask it."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clusters import state
from clusters.admin.security import Security, read_security
from shell.cli import build
from shell.commands import all_commands
from shell.output import Output
from shell.runner import Runner
from shell.session import Doors
from tests.real_kafka import require_kafka, until_up
from tests.secured.certificates import Certificates, make, write_private
from tests.secured.secured_kafka import MECHANISMS, PASSWORDS, SecuredKafka, secret_file
from tests.shell.in_process import Answer

WRONG = "not-the-password-4e21"

LogctlAt = Callable[..., Answer]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """All certificates and keys."""
    return make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def kafka(certificates: Certificates) -> Iterator[SecuredKafka]:
    """The broker, up; fails where peers are required and Java's jars are absent."""
    require_kafka()
    with SecuredKafka(certificates) as kafka:
        asyncio.run(until_up([kafka.place("SASL")], 1, security_of(kafka, "operator")))
        yield kafka
        kafka.kill(1)  # its folder goes away: nothing is gained by an orderly end


def properties_of(kafka: SecuredKafka, user: str, mechanism: str = "PLAIN") -> dict[str, str]:
    """What a context says for a user, without the password."""
    return {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(kafka.certificates.ca),
        "sasl.mechanism": mechanism,
        "sasl.username": user,
    }


def security_of(kafka: SecuredKafka, user: str, mechanism: str = "PLAIN") -> Security:
    """The same, understood, with the password."""
    found = read_security(
        properties_of(kafka, user, mechanism) | {"sasl.password": PASSWORDS[user]}
    )
    assert found is not None
    return found


@pytest.fixture(scope="session")
def contexts(
    kafka: SecuredKafka, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, state.Context]:
    """Every context of the tests; passwords come from files, the environment and a command."""
    folder = tmp_path_factory.mktemp("secrets")
    files = {user: secret_file(folder, user) for user in PASSWORDS}
    write_private(folder / "wrong", WRONG.encode())
    ssl = {"security.protocol": "SSL", "ssl.ca.location": str(kafka.certificates.ca)}
    made: dict[str, state.Context] = {}

    def add(
        name: str,
        listener: str,
        properties: dict[str, str],
        source: str = "",
        pin: str | None = None,
    ) -> None:
        made[name] = state.Context(
            name=name,
            bootstrap=[kafka.place(listener)],
            properties=properties,
            secrets={"sasl.password": source} if source else {},
            cluster_id=pin,
        )

    operator = f"file:{files['operator']}"
    sources = (operator, "env:OPERATOR_SECRET", f"command:cat {files['operator']}")
    for mechanism, source in zip(MECHANISMS, sources, strict=True):
        add(mechanism, "SASL", properties_of(kafka, "operator", mechanism), source)
        wrong = properties_of(kafka, "operator", mechanism)
        add(f"wrong {mechanism}", "SASL", wrong, f"file:{folder / 'wrong'}")
    pair = kafka.certificates.monitor
    own = {"ssl.certificate.location": str(pair.certificate), "ssl.key.location": str(pair.key)}
    other = kafka.certificates.stranger
    plain = properties_of(kafka, "operator")
    add("certificate", "CERTIFICATE", ssl | own)
    add("no certificate", "CERTIFICATE", ssl)
    strange = {
        "ssl.certificate.location": str(other.certificate),
        "ssl.key.location": str(other.key),
    }
    add("strange certificate", "CERTIFICATE", ssl | strange)
    add("viewer", "SASL", properties_of(kafka, "viewer"), f"file:{files['viewer']}")
    add("nobody", "SASL", properties_of(kafka, "nobody"), f"file:{files['nobody']}")
    add("pinned", "SASL", plain, operator, kafka.cluster_id)
    add("pinned elsewhere", "SASL", plain, operator, "AAAAAAAAAAAAAAAAAAAAAA")
    stranger_ca = plain | {"ssl.ca.location": str(kafka.certificates.stranger_ca)}
    add("untrusted", "SASL", stranger_ca, operator)
    add("expired", "EXPIRED", plain, operator)
    add("other name", "ELSEWHERE", plain, operator)
    add("plain to TLS", "SASL", {})
    add("plain to SASL", "PLAINONLY", {})
    add("TLS without SASL", "SASL", ssl)
    add("TLS to plain", "OPEN", plain, operator)
    add("SASL to plain", "OPEN", plain | {"security.protocol": "SASL_PLAINTEXT"}, operator)
    scram = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-512"}
    add("mechanism", "PLAINONLY", plain | scram, operator)
    return made


@pytest.fixture
def logctl(contexts: dict[str, state.Context]) -> LogctlAt:
    """`logctl("context", "topic", "list")` in this process; nobody answers questions."""

    def run(context: str, *words: str, stdin: bytes = b"", timeout: str = "30s") -> Answer:
        out, err = io.BytesIO(), io.StringIO()
        doors = Doors()
        doors.environ = {"OPERATOR_SECRET": PASSWORDS["operator"], "PATH": os.environ["PATH"]}
        doors.contexts = lambda: contexts  # type: ignore[method-assign]
        doors.ask = lambda prompt: None  # type: ignore[method-assign]
        read, write = os.pipe()
        os.write(write, stdin)
        os.close(write)
        with os.fdopen(read, "rb") as lines:
            doors.stdin = lambda: lines  # type: ignore[method-assign]
            runner = Runner(build(all_commands()), Output(stdout=out, stderr=err), doors)
            line = [*words, "--context", context, "--timeout", timeout]
            line += [] if "--format" in words else ["--format", "json"]
            try:
                code = runner.run_blocking(runner.parse(line))
            except Exception as error:
                code = runner.explain(error)
        said = err.getvalue()
        assert "Traceback" not in said
        assert "Internal error" not in said, said
        for secret in (*PASSWORDS.values(), WRONG):
            assert secret not in said
            assert secret.encode() not in out.getvalue()
        return Answer(int(code), out.getvalue(), said)

    return run


@pytest.fixture
def saved(contexts: dict[str, state.Context], tmp_path: Path, monkeypatch) -> Path:
    """The same contexts saved, for processes of their own; the folder of all that logctl keeps."""
    for kind in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    monkeypatch.setenv("OPERATOR_SECRET", PASSWORDS["operator"])
    for name in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        state.save_context(contexts[name], whole=True)
    return tmp_path
