"""Which host keys are trusted: learned once, pinned, and never another one by itself."""

import base64
import os
import stat
from pathlib import Path

import pytest

from clusters.hosts.known_hosts import KeyJudge, KnownHosts, fingerprint

ED25519 = "ssh-ed25519"
KEY = b"\x00\x00\x00\x0bssh-ed25519 one"
OTHER = b"\x00\x00\x00\x0bssh-ed25519 other"


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "known_hosts")


def judge(path, policy="accept-new", pins=()):
    return KeyJudge(KnownHosts.load(path), policy, pins)


def test_a_new_key_is_learned_once_and_kept_privately(path):
    first = judge(path)
    assert first.accepts("h", 22, ED25519, KEY)
    assert first.learned == fingerprint(KEY)
    second = judge(path)
    assert second.accepts("h", 22, ED25519, KEY)
    assert second.learned is None
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    text = Path(path).read_text()
    assert text == f"h ssh-ed25519 {base64.b64encode(KEY).decode()}\n"


def test_a_changed_key_is_refused_with_both_fingerprints_and_the_way_out(path):
    assert judge(path).accepts("h", 2222, ED25519, KEY)
    for policy in ("accept-new", "strict"):
        changed = judge(path, policy)
        assert not changed.accepts("h", 2222, ED25519, OTHER)
        assert changed.refusal is not None
        assert fingerprint(KEY) in changed.refusal
        assert fingerprint(OTHER) in changed.refusal
        assert f"ssh-keygen -R '[h]:2222' -f {path}" in changed.refusal
    assert judge(path).accepts("h", 2222, ED25519, KEY)


def test_ports_of_one_machine_have_keys_of_their_own(path):
    assert judge(path).accepts("h", 22, ED25519, KEY)
    assert judge(path).accepts("h", 2222, ED25519, OTHER)
    assert not judge(path).accepts("h", 22, ED25519, OTHER)


def test_strict_tells_the_fingerprint_to_pin(path):
    strict = judge(path, "strict")
    assert not strict.accepts("h", 22, ED25519, KEY)
    assert f'host_key: "{fingerprint(KEY)}"' in str(strict.refusal)
    assert not os.path.exists(path)


def test_a_pin_decides_alone(path):
    pinned = judge(path, "strict", (fingerprint(KEY),))
    assert pinned.accepts("h", 22, ED25519, KEY)
    assert not pinned.accepts("h", 22, ED25519, OTHER)
    assert fingerprint(OTHER) in str(pinned.refusal)
    assert not os.path.exists(path)


def test_lines_that_are_not_understood_stay(path):
    with open(path, "w") as file:
        file.write("# a note\n@cert-authority * ssh-rsa AAAA\nbroken\nh ssh-ed25519 !!\n")
    assert judge(path).accepts("h", 22, ED25519, KEY)
    assert Path(path).read_text().startswith("# a note\n@cert-authority * ssh-rsa AAAA\nbroken\n")
