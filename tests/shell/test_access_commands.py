"""Rules, users and quotas as a person handles them, on Apache Kafka with its own authorizer; and
what is said where a cluster has none of it."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.peers import Logd
from broker.protocol.errors import LogctlError
from clusters.admin import AdminClient
from clusters.admin.security import Security
from shell.cli import build
from shell.commands import all_commands
from shell.output import Output
from shell.runner import Runner
from shell.script import parse_line
from shell.session import Doors
from tests.authorized_kafka import AuthorizedKafka, authorized_kafka
from tests.shell.terminal import Terminal

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

GOLDEN = Path(__file__).parent / "golden"
PASSWORDS = {"SHOP": "geheim", "OPS": "pässwörd ☃", "EMPTY": ""}

# (golden file or None, exit code, command line, a word of stderr). In order.
SCRIPT: tuple[tuple[str | None, int, str, str], ...] = (
    (None, 0, "acl list", "no such rules"),
    ("acl-add", 0, "acl add shop --producer --topic orders", "Added 3 rules; 0 were there"),
    (None, 0, "acl add shop --producer --topic orders", "Added 0 rules; 3 were there already"),
    (None, 0, "acl add User:bi --consumer --topic ord --group bi --prefixed", "Added 3"),
    (None, 0, "acl add guest --deny --operation all --topic '*' --host 10.0.0.7", "Added 1"),
    (None, 0, "acl add guest --operation read --topic x --dry-run", "1 rules would be added"),
    ("acl-list", 0, "acl list --topic orders", ""),
    (None, 2, "acl add guest --operation reed --topic x", "Did you mean 'read'?"),
    (None, 2, "acl add guest --operation read --cluster", "means nothing on a cluster"),
    (None, 2, "acl add guest --consumer --topic x", "needs --topic and --group"),
    (None, 2, "acl add User: --operation read --topic x", "names nobody"),
    (None, 2, "acl remove", "Say which rules"),
    (None, 4, "acl remove shop --topic orders", "User:shop allow write on topic orders"),
    (None, 4, "acl remove shop --topic orders --yes --read-only", "read-only"),
    (None, 0, "acl remove shop --topic orders --dry-run", "3 rules would be removed"),
    # Literal is what is meant by a name: the prefix stays.
    (None, 0, "acl remove --topic ord --yes", "0 rules would be removed"),
    ("acl-remove", 0, "acl remove shop --topic orders --yes", "Removed 3 rules"),
    (None, 0, "acl remove bi --yes", "Removed 3 rules"),
    ("user-set", 0, "user set shop --password-from env:SHOP", ""),
    (None, 0, "user set shop --password-from env:SHOP --iterations 4096", "new ones need"),
    (None, 2, "user set shop --password-from geheim", "named by its source"),
    (None, 2, "user set shop", "nobody to ask"),
    (None, 1, "user set shop --password-from env:NOTHING", "NOTHING is not set"),
    (None, 2, "user set shop --password-from env:SHOP --iterations 100", "out of range"),
    (None, 4, "user set shop --password-from env:SHOP --read-only", "read-only"),
    (None, 0, "user set shop --mechanism SCRAM-SHA-256 --dry-run", "Nothing was changed"),
    ("user-list", 0, "user list", ""),
    (None, 1, "user list shoop", "Did you mean 'shop'?"),
    (None, 1, "user delete shop --mechanism SCRAM-SHA-256", "has no SCRAM-SHA-256"),
    (None, 4, "user delete shop", "cannot connect any more"),
    (None, 0, "user delete shop --dry-run", "Nothing was changed"),
    (None, 0, "user delete shop --yes", "Deleted the SCRAM-SHA-512 credential of shop"),
    (None, 0, "quota list", "no such quotas"),
    ("quota-set", 0, "quota set --user bi consumer_byte_rate=10MiB request_percentage=12.5", ""),
    (None, 0, "quota set --default user producer_byte_rate=1MiB", "Changed 1 limits"),
    (None, 0, "quota set --ip 10.0.0.7 connection_creation_rate=5 --dry-run", "nothing was"),
    (None, 2, "quota set --user bi consumer_byt_rate=1", "Did you mean 'consumer_byte_rate'?"),
    (None, 2, "quota set --ip 10.0.0.7 consumer_byte_rate=1", "cannot be set for ip"),
    (None, 2, "quota set --user bi consumer_byte_rate=soon", "is not a size"),
    (None, 2, "quota set --user bi consumer_byte_rate=-4", "greater than 0"),
    (None, 2, "quota set --user bi request_percentage=nan", "greater than 0"),
    (None, 2, "quota set consumer_byte_rate=1", "Give --user"),
    (None, 2, "quota set --user a --default user consumer_byte_rate=1", "either --user or"),
    ("quota-list", 0, "quota list", ""),
    (None, 4, "quota unset --user bi --read-only", "read-only"),
    ("quota-unset", 0, "quota unset --user bi", "Changed 2 limits"),
    (None, 0, "quota unset --user bi", "There are no limits of user bi"),
    (None, 0, "quota unset --default user", "Changed 1 limits"),
    (None, 0, "acl remove guest --yes", "Removed 1 rules"),
)


class Shell:
    def __init__(self, *where: str) -> None:
        self.where = where

    def __call__(self, line: str, code: int = 0, output: str = "json") -> tuple[str, str]:
        """stdout and stderr of a command line, which must end with this code."""
        out, err = io.BytesIO(), io.StringIO()
        doors = Doors()
        doors.environ = {**os.environ, **PASSWORDS}
        doors.ask = lambda prompt: None  # type: ignore[method-assign]
        doors.ask_secret = lambda prompt: None  # type: ignore[method-assign]
        runner = Runner(build(all_commands()), Output(stdout=out, stderr=err), doors)
        words = [*parse_line(line)[0].words, *self.where, "--format", output]
        try:
            ended = runner.run_blocking(runner.parse([*words, "--timeout", "30s"]))
        except Exception as error:
            ended = runner.explain(error)
        assert ended == code, f"{line}: {ended}: {err.getvalue()}"
        assert "Internal error" not in err.getvalue()
        for password in filter(None, PASSWORDS.values()):
            assert password not in err.getvalue() + out.getvalue().decode() or password in line
        return out.getvalue().decode(), err.getvalue()


@pytest.fixture(scope="module")
def kafka() -> Iterator[AuthorizedKafka]:
    with authorized_kafka() as cluster:
        yield cluster


@pytest.fixture
def shell(kafka: AuthorizedKafka) -> Shell:
    return Shell("--bootstrap", kafka.bootstrap)


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))


def test_the_script_of_rules_users_and_quotas(shell: Shell) -> None:
    problems = []
    for golden, code, line, said in SCRIPT:
        out, err = shell(line, code)
        if said not in err:
            problems.append(f"{line}: wanted {said!r}: {err}")
        if golden is None:
            continue
        path = GOLDEN / f"{golden}.json"
        if os.environ.get("LOGCTL_WRITE_GOLDEN"):
            path.write_text(out)
        if json.loads(path.read_text()) != json.loads(out):
            problems.append(f"{line}: {out}")
    assert not problems, "\n".join(problems)


def topics_seen_by(
    kafka: AuthorizedKafka, user: str, password: str, mechanism: str = "SCRAM-SHA-512"
) -> list[str]:
    async def ask() -> list[str]:
        security = Security(
            protocol="SASL_PLAINTEXT", mechanism=mechanism, username=user, password=password
        )
        async with AdminClient([kafka.sasl_bootstrap], security=security) as admin:
            return [each.topic for each in await admin.topics()]

    return asyncio.run(ask())


def test_kafka_takes_the_credentials_and_heeds_the_rules(
    kafka: AuthorizedKafka, shell: Shell
) -> None:
    shell("topic create seen -p 1 -r 1")
    both = "--mechanism SCRAM-SHA-256 --mechanism SCRAM-SHA-512"
    shell(f"user set ops --password-from env:OPS {both}")
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
        assert topics_seen_by(kafka, "ops", PASSWORDS["OPS"], mechanism) == []
    with pytest.raises(LogctlError, match=r"(?i)authentication"):
        topics_seen_by(kafka, "ops", "another")
    shell("acl add ops --operation describe --topic see --prefixed")
    assert topics_seen_by(kafka, "ops", PASSWORDS["OPS"]) == ["seen"]
    shell("acl add ops --deny --operation all --topic seen")
    assert topics_seen_by(kafka, "ops", PASSWORDS["OPS"]) == []
    # A new password: the old one is of no use any more.
    shell("user set ops --password-from env:SHOP")
    assert topics_seen_by(kafka, "ops", PASSWORDS["SHOP"]) == []
    with pytest.raises(LogctlError, match=r"(?i)authentication"):
        topics_seen_by(kafka, "ops", PASSWORDS["OPS"])
    shell("acl remove ops --yes")
    shell("user delete ops --yes")
    shell("topic delete seen --yes")


STATE = """
users:
  shop: {password: "env:SHOP"}
  bi: {password: "env:OPS", mechanisms: [SCRAM-SHA-256, SCRAM-SHA-512], iterations: 4096}
acls:
  - {principal: shop, allow: [write, DESCRIBE], topic: [orders, returns]}
  - principal: [bi, "User:audit"]
    allow: read
    topic: ord
    pattern: prefixed
    host: 10.0.0.7
  - {principal: guest, deny: all, cluster: true}
quotas:
  - {user: shop, limits: {producer_byte_rate: 10MiB, request_percentage: 12.5}}
  - {user: <default>, client-id: import, limits: {consumer_byte_rate: 1MiB}}
  - {ip: 10.0.0.7, limits: {connection_creation_rate: 20}}
"""


def test_declared_access_from_nothing_to_nothing(shell: Shell, tmp_path: Path) -> None:
    state, written, saved = (tmp_path / name for name in ("s.yaml", "e.yaml", "plan.json"))
    state.write_text(STATE)
    steps = json.loads(shell(f"diff {state}", 3)[0])["steps"]
    assert [(step["kind"], step["name"]) for step in steps] == [
        ("set user", "bi"),
        ("set user", "shop"),
        ("add acls", "User:audit"),
        ("add acls", "User:bi"),
        ("add acls", "User:guest"),
        ("add acls", "User:shop"),
        ("set quota", "ip 10.0.0.7"),
        ("set quota", "user <default>, client-id import"),
        ("set quota", "user shop"),
    ]
    shell(f"apply {state} --dry-run", 3)
    shell(f"apply {state} --plan-out {saved}")
    assert "env:SHOP" in saved.read_text()
    # A password that cannot be had: not even the rules are added.
    state.write_text(STATE.replace("env:OPS", "env:EMPTY"))
    _, err = shell(f"apply {state}", 1)
    assert f"{state}:4: user bi: The secret password of bi" in err
    assert "Nothing was changed" in err
    assert json.loads(shell("acl list")[0]) == []
    shell(f"apply --plan {saved}")
    state.write_text(STATE)
    assert "No differences" in shell(f"diff {state}")[1]
    shell(f"export --out {written}")
    assert "No differences" in shell(f"diff {written} --prune")[1]
    # Something that the plan did not know of has happened since.
    shell(f"apply {state} --set rotate=1", 1)
    shell("quota set --user shop producer_byte_rate=1MiB")
    assert "set quota user shop: planned against" in shell(f"apply --plan {saved}", 4)[1]
    assert len(json.loads(shell(f"diff {state} --only user=shop", 3)[0])["steps"]) == 1
    shell(f"apply {state}")
    state.write_text("users: {}\nacls: []\nquotas: []\n")
    assert "No differences" in shell(f"diff {state}")[1]
    assert "5 access rules" not in shell(f"apply {state} --prune", 4)[1]
    shell(f"apply {state} --prune --only kind=acl --yes")
    shell(f"apply {state} --prune --yes")
    for line in ("acl list", "user list", "quota list"):
        assert json.loads(shell(line)[0]) == []


def test_who_applies_is_not_locked_out(
    kafka: AuthorizedKafka, shell: Shell, tmp_path: Path
) -> None:
    shell("user set ops --password-from env:OPS")
    for operation in ("alter", "describe", "create"):
        shell(f"acl add ops --operation {operation} --cluster")
    shell("acl add ops --operation all --topic '*'")
    shell(
        f"context add secured {kafka.sasl_bootstrap} --property security.protocol=SASL_PLAINTEXT "
        "--property sasl.mechanism=SCRAM-SHA-512 --property sasl.username=ops "
        "--secret sasl.password=env:OPS"
    )
    secured = Shell("--context", "secured")
    state = tmp_path / "state.yaml"
    state.write_text("users: {}\nacls:\n  - {principal: a, allow: read, topic: t}\n")
    out, err = secured(f"apply {state} --prune --yes", 4)
    assert f"{state}:2: pruning would remove rules of User:ops" in err
    assert f"{state}:1: pruning would remove the credentials of user ops" in err
    assert "lock yourself out" in err
    # Nothing at all was done, not even what is harmless.
    assert not any(rule["principal"] == "User:a" for rule in json.loads(secured("acl list")[0]))
    assert "you may lock yourself out" in secured("acl remove ops", 4)[1]
    assert "You are connected as User:ops" in secured("user delete ops", 4)[1]
    state.write_text("protect_principals: [User:ops]\n" + state.read_text())
    secured(f"apply {state} --prune --yes")
    assert {r["principal"] for r in json.loads(secured("acl list")[0])} == {"User:a", "User:ops"}
    # Quotas ask for a right that ops has not: said, and left out of an export.
    assert "DescribeConfigs on the cluster" in secured("quota list", 1)[1]
    out, err = secured("export", output="table")
    assert "quotas are left out" in err
    assert "quotas:" not in out
    assert "acls:" in out
    shell("acl remove ops a --yes")
    shell("user delete ops --yes")


def test_a_password_is_typed_unseen_and_ctrl_c_ends_the_question(
    kafka: AuthorizedKafka, shell: Shell
) -> None:
    words = ("user", "set", "typed", "--bootstrap", kafka.bootstrap)
    terminal = Terminal(*words, environment={})
    try:
        terminal.until("Password of typed:", 60)
        terminal.type("\x03")
        terminal.until("Cancelled", 30)
    finally:
        terminal.close()
    assert json.loads(shell("user list")[0]) == []
    terminal = Terminal(*words, environment={})
    try:
        terminal.until("Password of typed:", 60)
        terminal.type(PASSWORDS["SHOP"] + "\r")
        terminal.until("The same again:", 30)
        terminal.type(PASSWORDS["SHOP"] + "\r")
        terminal.until("created", 30)
        assert PASSWORDS["SHOP"] not in terminal.everything
    finally:
        terminal.close()
    assert topics_seen_by(kafka, "typed", PASSWORDS["SHOP"]) == []
    shell("user delete typed --yes")


def test_a_cluster_without_them_says_so_and_what_to_do(tmp_path: Path) -> None:
    state = tmp_path / "state.yaml"
    with Logd(1) as cluster:
        shell = Shell("--bootstrap", cluster.bootstrap)
        shell("wait 'count(brokers where state = up) = 1' --timeout 60s")
        for line, words in (
            ("acl list", "does not serve DescribeAcls (API 29)"),
            ("acl add a --operation read --topic t", "authorizer.class.name"),
            ("user list", "does not serve DescribeUserScramCredentials (API 50)"),
            ("user set a --password-from env:SHOP", "logd keeps no users yet"),
            ("quota list", "does not serve DescribeClientQuotas (API 48)"),
            ("quota set --user a producer_byte_rate=1", "limit clients where they run"),
        ):
            assert words in shell(line, 1)[1]
        state.write_text("topics: {t: {partitions: 1, replication: 1}}\n" + STATE)
        out, err = shell(f"apply {state}", 4)
        assert f"{state}:3: users cannot be declared for this cluster" in err
        assert f"{state}:6: acls cannot be declared for this cluster" in err
        assert f"{state}:14: quotas cannot be declared for this cluster" in err
        assert json.loads(shell("topic list")[0]) == []
        out, err = shell("export", output="table")
        assert out == "topics: {}\n"
        assert "acls are left out" in err
        shell(f"apply {state} --only kind=topic")
