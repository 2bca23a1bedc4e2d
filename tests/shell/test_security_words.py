"""Words of rules, users and quotas on the command line, and what completes them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from clusters.admin import acl_model, quota_model, scram_model
from shell import names as names_module
from shell import security_words
from shell.commands import all_commands
from shell.commands.user import _DEFAULT, _ITERATIONS
from shell.completion import suggest
from shell.names import Names

NAMES = Names(
    topics={"orders": 3},
    principals={"User:billing": "2 rules", "User:ops": "no rules"},
    users={"ops": "SCRAM-SHA-512"},
)


def test_the_words_are_those_of_the_admin_client() -> None:
    assert tuple(acl_model.OPERATIONS) == security_words.OPERATIONS
    assert tuple(acl_model.RESOURCE_TYPES) == security_words.RESOURCES
    assert set(security_words.PERMISSIONS) == set(acl_model.PERMISSIONS)
    assert set(security_words.PATTERNS) == set(acl_model.FILTER_PATTERN_TYPES)
    assert tuple(scram_model.SCRAM_MECHANISMS) == security_words.MECHANISMS
    assert tuple(quota_model.LIMITS) == security_words.LIMITS
    assert security_words.ENTITY_TYPES == quota_model.ENTITY_TYPES
    assert (_DEFAULT, _ITERATIONS) == (
        scram_model.DEFAULT_MECHANISM,
        scram_model.DEFAULT_ITERATIONS,
    )
    assert set(acl_model.OPERATIONS_OF) == set(acl_model.RESOURCE_TYPES)
    for words in acl_model.OPERATIONS_OF.values():
        assert set(words) <= set(acl_model.OPERATIONS)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("acl add ", "User:billing"),
        ("acl list --principal ", "User:ops"),
        ("acl list --topic ", "orders"),
        ("acl add ops --operation wr", "write"),
        ("user delete ", "ops"),
        ("quota set --user ", "ops"),
        ("quota set prod", "producer_byte_rate="),
        ("quota unset cons", "consumer_byte_rate"),
        ("quota list --default ", "client-id"),
    ],
)
def test_names_and_words_are_completed(line: str, found: str) -> None:
    assert found in [each.text for each in suggest(all_commands(), line, NAMES)]


def test_principals_and_users_outlive_a_process(tmp_path: Any) -> None:
    path = str(tmp_path / "names.json")
    names_module.save(path, NAMES, time.time())
    kept = names_module.load(path, time.time())
    assert kept is not None
    assert (kept.principals, kept.users) == (NAMES.principals, NAMES.users)


def test_a_password_needs_bounds_and_is_salted_anew_each_time() -> None:
    first = scram_model.salted("a", "SCRAM-SHA-256", "pencil")
    assert (
        first.salted_password != scram_model.salted("a", "SCRAM-SHA-256", "pencil").salted_password
    )
    assert "pencil" not in repr(first)
    for iterations in (4_095, 16_385):
        with pytest.raises(ValueError, match="from 4096 to 16384"):
            scram_model.salted("a", "SCRAM-SHA-256", "pencil", iterations)
    with pytest.raises(ValueError, match="not empty"):
        scram_model.salted("a", "SCRAM-SHA-256", "")


def test_the_salted_password_is_that_of_the_rfc() -> None:
    """The example of RFC 7677: the proof that its server knows the password."""
    import base64
    import hashlib
    import hmac

    made = scram_model.salted(
        "user", "SCRAM-SHA-256", "pencil", 4096, salt=base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    )
    said = (
        "n=user,r=rOprNGfwEbeRWgbNEkqO,"
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    key = hmac.digest(made.salted_password, b"Server Key", hashlib.sha256)
    signature = hmac.digest(key, said.encode(), hashlib.sha256)
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
