"""Private keys to show to hosts: a file, the agent, or the usual files of the user.

Keeps account of what can be shown, so that a refusal can say what was tried. A passphrase is asked
for once a run. Must never log a key.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import Any

from clusters.errors import HostError
from clusters.hosts.secrets import PASSPHRASE_VARIABLE, Secrets

_USUAL = ("id_ed25519", "id_ecdsa", "id_ecdsa_sk", "id_ed25519_sk", "id_rsa")
AGENT_VARIABLE = "SSH_AUTH_SOCK"


@dataclass(frozen=True, slots=True)
class Keys:
    """Key pairs as asyncssh takes them, and a line about each for messages."""

    pairs: tuple[Any, ...]
    tried: tuple[str, ...]


@dataclass(slots=True)
class KeyRing:
    """The keys of one run; files are read and decrypted once."""

    secrets: Secrets
    _files: dict[str, Any] = field(default_factory=dict)
    _agent: Any = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def keys(self, identity: str | None, *, use_agent: bool) -> Keys:
        """What to show to a host. Raises HostError for an identity that cannot be used."""
        async with self._lock:
            pairs: list[Any] = []
            tried: list[str] = []
            if identity is not None:
                path = expanded(identity)
                key = await self._file(path, required=True)
                pairs.append(key)
                tried.append(f"{path} ({key.get_fingerprint()})")
            if use_agent:
                for pair in await self._agent_pairs():
                    pairs.append(pair)
                    tried.append(f"the agent's {_comment(pair)}")
            if identity is None:
                for path in usual_files():
                    key = await self._file(path, required=False, ask=not pairs)
                    if key is None:
                        tried.append(f"{path} was left out: it has a passphrase")
                        continue
                    pairs.append(key)
                    tried.append(f"{path} ({key.get_fingerprint()})")
            return Keys(tuple(pairs), tuple(tried))

    def close(self) -> None:
        """End the connection to the agent."""
        if self._agent is not None:
            self._agent.close()
            self._agent = None

    async def _file(self, path: str, *, required: bool, ask: bool = True) -> Any:
        if path not in self._files:
            self._files[path] = await asyncio.to_thread(self._read, path, required, ask)
        return self._files[path]

    def _read(self, path: str, required: bool, ask: bool) -> Any:
        import asyncssh

        try:
            with open(path, "rb") as stream:
                content = stream.read()
        except OSError as error:
            raise HostError(
                f"The private key {path} cannot be read: {error.strerror}. Correct `ssh.identity` "
                "in the cluster file."
            ) from None
        try:
            return asyncssh.import_private_key(content)
        except asyncssh.KeyEncryptionError:
            pass
        except asyncssh.KeyImportError as error:
            if _says_encrypted(error):
                pass
            elif required:
                raise HostError(f"{path} is no usable private key: {error}") from None
            else:
                return None
        passphrase = self.secrets.passphrase(path) if required or ask else None
        if passphrase is None:
            if not required:
                return None
            raise HostError(
                f"The private key {path} has a passphrase. Set {PASSPHRASE_VARIABLE}, add the key "
                "to an SSH agent, or run logctl on a terminal, where it asks."
            )
        try:
            return asyncssh.import_private_key(content, passphrase)
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
            raise HostError(f"The passphrase of the private key {path} is wrong.") from None

    async def _agent_pairs(self) -> list[Any]:
        import asyncssh

        if not os.environ.get(AGENT_VARIABLE):
            return []
        try:
            if self._agent is None:
                self._agent = await asyncssh.connect_agent()
            return list(await self._agent.get_keys())
        except (OSError, ValueError, asyncssh.Error):
            return []


def expanded(path: str) -> str:
    """A path of this machine with `~` replaced."""
    return os.path.expanduser(path)


def usual_files() -> list[str]:
    """The private keys that ssh would take by itself, those that exist."""
    paths = [expanded(f"~/.ssh/{name}") for name in _USUAL]
    return [path for path in paths if os.path.exists(path)]


def _says_encrypted(error: Exception) -> bool:
    return "passphrase" in str(error).lower()


def _comment(pair: Any) -> str:
    comment = pair.get_comment() or "key"
    algorithm = pair.algorithm
    name = algorithm.decode() if isinstance(algorithm, bytes) else str(algorithm)
    return f"{comment} ({name})"
