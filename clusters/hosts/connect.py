"""Open the way to a host: this machine, or SSH with the cluster's keys, host keys and jump hosts.

Two brokers on one machine share one connection. Every failure names the host, what was tried, and
the `ssh` line to try by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import socket
from dataclasses import dataclass, field, replace
from typing import Any

from clusters.errors import HostError
from clusters.hosts.base import Connection
from clusters.hosts.known_hosts import KeyJudge, KnownHosts, Policy, known_hosts_path
from clusters.hosts.local import LocalConnection
from clusters.hosts.secrets import SUDO_VARIABLE, Secrets
from clusters.hosts.shell_words import after_marker, command, new_marker, words
from clusters.hosts.ssh import Privilege, SshConnection
from clusters.hosts.ssh_keys import KeyRing, Keys, expanded
from clusters.spec.models import ClusterSpec, HostSpec, Ssh

CONNECT_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 15.0
KEEPALIVE_S = 3
KEEPALIVE_COUNT_MAX = 3
# In the order of their speed where the processor helps.
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes128-ctr",
)
_HOST_KEY_ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
_PROBE = """
echo "uid $(id -u)"; echo "user $(id -un)"; echo "home $HOME"
command -v timeout >/dev/null && echo "timeout yes"
if [ "$(id -u)" != 0 ]; then
  if command -v sudo >/dev/null; then
    echo "sudo yes"
    if [ -n {wanted} ] && sudo -n true 2>/dev/null; then echo "passwordless yes"; fi
  fi
fi
"""
_SUDO = "sudo -n -- "
_SUDO_WITH_PASSWORD = "sudo -S -k -p '' -- "  # noqa: S105 - how it is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One sshd and how to log in to it. `name` is the machine's name in messages."""

    name: str
    host: str
    port: int
    user: str
    identity: str | None
    become: bool
    use_agent: bool
    jump: Target | None
    policy: Policy
    pins: tuple[str, ...]

    def ssh_line(self, known_hosts: str) -> str:
        """The command by which a person tries the same."""
        parts = ["ssh", "-p", str(self.port)]
        if self.identity is not None:
            parts += ["-i", expanded(self.identity)]
        if self.jump is not None:
            parts += ["-J", f"{self.jump.user}@{self.jump.host}:{self.jump.port}"]
        parts += ["-o", f"UserKnownHostsFile={known_hosts}", f"{self.user}@{self.host}"]
        return words(*parts)


def target_of(spec: ClusterSpec, host: HostSpec) -> Target:
    """The sshd of one host of a spec."""
    ssh = spec.ssh_of(host)
    policy: Policy = ssh.host_keys or "accept-new"
    target = Target(
        name=host.address,
        host=ssh.host or host.address,
        port=ssh.port or 22,
        user=ssh.user or getpass.getuser(),
        identity=ssh.identity,
        become=ssh.become == "sudo",
        use_agent=ssh.agent is not False,
        jump=None,
        policy=policy,
        pins=tuple(host.host_key or ()),
    )
    return replace(target, jump=_jump_of(ssh, target)) if ssh.jump is not None else target


def _jump_of(ssh: Ssh, target: Target) -> Target:
    user, _, place = (ssh.jump or "").rpartition("@")
    host, colon, port = place.rpartition(":")
    if not colon or not port.isdecimal() or ":" in host:
        host, port = place, "22"
    return replace(
        target,
        name=f"the jump host {host}",
        host=host,
        port=int(port),
        user=user or target.user,
        become=False,
        pins=(),
    )


@dataclass(slots=True)
class Connector:
    """Opens connections to the hosts of one cluster, each machine once; `close` ends them all."""

    spec: ClusterSpec
    secrets: Secrets = field(default_factory=Secrets)
    _keys: KeyRing | None = None
    _known: KnownHosts | None = None
    _open: dict[Target | None, asyncio.Task[Connection]] = field(default_factory=dict)
    _jumps: dict[Target, asyncio.Task[Any]] = field(default_factory=dict)
    _passwords: asyncio.Lock = field(default_factory=asyncio.Lock)
    learned: dict[str, str] = field(default_factory=dict)

    async def connect(self, host: HostSpec) -> Connection:
        """The connection to a host's machine. Raises HostError."""
        target = None if host.is_local else target_of(self.spec, host)
        if target not in self._open:
            self._open[target] = asyncio.ensure_future(self._connect(target))
        return await asyncio.shield(self._open[target])

    async def close(self) -> None:
        """End every connection; may be called again."""
        tasks, self._open = list(self._open.values()), {}
        jumps, self._jumps = list(self._jumps.values()), {}
        for task in (*tasks, *jumps):
            task.cancel()
        for done in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(done, BaseException):
                await done.close()
        for done in await asyncio.gather(*jumps, return_exceptions=True):
            if not isinstance(done, BaseException):
                done.close()
        if self._keys is not None:
            self._keys.close()

    async def _connect(self, target: Target | None) -> Connection:
        if target is None:
            return LocalConnection()
        transport = await self._log_in(target)
        try:
            return await self._prepared(target, transport)
        except BaseException:
            transport.close()
            raise

    async def _log_in(self, target: Target) -> Any:
        """An asyncssh connection, its host key judged."""
        import asyncssh

        if self._keys is None:
            self._keys = KeyRing(self.secrets)
        if self._known is None:
            self._known = KnownHosts.load(known_hosts_path(self.spec.name))
        known = self._known
        keys = await self._keys.keys(target.identity, use_agent=target.use_agent)
        tunnel = await self._jump(target.jump) if target.jump is not None else ()
        judge = KeyJudge(known, target.policy, target.pins)

        class Client(asyncssh.SSHClient):  # type: ignore[misc]
            def validate_host_public_key(self, host: str, addr: str, port: int, key: Any) -> bool:
                algorithm = key.get_algorithm()
                return judge.accepts(target.host, target.port, algorithm, key.public_data)

        try:
            connection, _ = await asyncssh.create_connection(
                Client,
                target.host,
                target.port,
                username=target.user,
                client_keys=list(keys.pairs) or None,
                known_hosts=b"",
                config=None,
                agent_path=None,
                tunnel=tunnel,
                preferred_auth="publickey",
                connect_timeout=CONNECT_TIMEOUT_S,
                login_timeout=CONNECT_TIMEOUT_S,
                keepalive_interval=KEEPALIVE_S,
                keepalive_count_max=KEEPALIVE_COUNT_MAX,
                encryption_algs=list(CIPHERS),
                server_host_key_algs=_algorithms(known, target),
            )
        except (OSError, TimeoutError, asyncssh.Error) as error:
            raise self._refused(target, keys, judge, error) from None
        if judge.learned is not None:
            self.learned[target.name] = judge.learned
        return connection

    async def _jump(self, target: Target) -> Any:
        if target not in self._jumps:
            self._jumps[target] = asyncio.ensure_future(self._log_in(target))
        return await asyncio.shield(self._jumps[target])

    def _refused(self, target: Target, keys: Keys, judge: KeyJudge, error: Exception) -> HostError:
        import asyncssh

        place = f"{target.host}:{target.port}"
        who = target.name if target.name == target.host else f"{target.name} ({place})"
        line = target.ssh_line(known_hosts_path(self.spec.name))
        if judge.refusal is not None:
            return HostError(f"{who}: {judge.refusal}")
        if isinstance(error, asyncssh.PermissionDenied):
            tried = "; ".join(keys.tried) or "none: no identity, no agent, no key in ~/.ssh"
            return HostError(
                f"{who} does not let {target.user} in. Keys tried: {tried}. Put the public key "
                f"into ~/.ssh/authorized_keys there, or correct `ssh` in the cluster file. "
                f"By hand: {line}"
            )
        return HostError(f"{who} cannot be reached by SSH: {_reason(error)}. By hand: {line}")

    async def _prepared(self, target: Target, transport: Any) -> SshConnection:
        facts = await _probe(target, transport)
        user = facts.get("user", target.user)
        privilege = Privilege(is_root=facts.get("uid") == "0")
        if not privilege.is_root and target.become:
            if "sudo" not in facts:
                raise HostError(
                    f"{target.name} has no sudo, but {user} is to become root by it. Install "
                    "sudo there, log in as root, or write `become: none`."
                )
            privilege = Privilege(is_root=True, prefix=_SUDO)
            if "passwordless" not in facts:
                privilege = await self._with_password(target, transport, user)
        return SshConnection(
            target.name,
            transport,
            user=user,
            home=facts.get("home") or "/",
            privilege=privilege,
        )

    async def _with_password(self, target: Target, transport: Any, user: str) -> Privilege:
        async with self._passwords:
            password = await asyncio.to_thread(self.secrets.sudo_password, user)
        if password is None or "\n" in password:
            raise HostError(
                f"{target.name}: sudo wants the password of {user}. Set {SUDO_VARIABLE}, or run "
                "logctl on a terminal, where it asks."
            )
        privilege = Privilege(is_root=True, prefix=_SUDO_WITH_PASSWORD, password=password)
        marker = new_marker()
        out, err = await _ask(
            target, transport, command("id -u", marker, become=privilege.prefix), privilege.stdin
        )
        if (after_marker(out, marker) or b"").strip() != b"0":
            raise HostError(
                f"{target.name}: sudo refused {user}: {_sudo_words(err)}. Correct "
                f"{SUDO_VARIABLE} or the password typed; nothing was changed there."
            )
        return privilege


def _sudo_words(told: bytes) -> str:
    """Why sudo refused. After a wrong password it asks again and complains of getting none."""
    text = " ".join(told.decode("utf-8", "replace").split())
    if not text or "try again" in text or "incorrect password" in text:
        return "the password is wrong"
    return text[-300:].rstrip(".")


async def _probe(target: Target, transport: Any) -> dict[str, str]:
    marker = new_marker()
    script = _PROBE.format(wanted="yes" if target.become else "''")
    out, err = await _ask(target, transport, command(script, marker), b"")
    told = after_marker(out, marker)
    if told is None:
        words_ = err.decode("utf-8", "replace").strip()[-300:]
        raise HostError(
            f"{target.name}: the login shell of {target.user} runs no commands: "
            f"{words_ or 'it said nothing'}. It needs a POSIX shell."
        )
    pairs = (line.partition(" ") for line in told.decode("utf-8", "replace").splitlines())
    facts = {name: value for name, _, value in pairs}
    if "timeout" not in facts:
        raise HostError(f"{target.name} has no `timeout` command; install coreutils there.")
    return facts


async def _ask(target: Target, transport: Any, line: str, stdin: bytes) -> tuple[bytes, bytes]:
    import asyncssh

    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            process = await transport.create_process(line, encoding=None)
            with contextlib.closing(process):
                out, err = await process.communicate(stdin)
                return out, err
    except TimeoutError:
        raise HostError(
            f"{target.name}: no answer to a first command within {PROBE_TIMEOUT_S:g} s; look "
            f"whether the login shell of {target.user} waits for something."
        ) from None
    except (OSError, asyncssh.Error) as error:
        raise HostError(f"{target.name}: the connection ended at once: {error}") from None


def _algorithms(known: KnownHosts, target: Target) -> list[str]:
    """Ask first for the kind of key that is known: another one would look like a change."""
    first: list[str] = []
    for algorithm, _ in known.keys_of(target.host, target.port):
        wanted = ["rsa-sha2-512", "rsa-sha2-256"] if algorithm == "ssh-rsa" else [algorithm]
        first += [each for each in wanted if each in _HOST_KEY_ALGORITHMS]
    return list(dict.fromkeys([*first, *_HOST_KEY_ALGORITHMS]))


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_TIMEOUT_S:g} s; is it up, and is the address right?"
    if isinstance(error, socket.gaierror):
        return f"its name is not known ({error.strerror or error})"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused; does sshd run there, on this port?"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower() if error.strerror[1:2].islower() else error.strerror
    return str(error) or type(error).__name__
