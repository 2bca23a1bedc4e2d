"""Calls on settings of topics and brokers: read with their sources, change one by one (KIP-339)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, LogctlError
from broker.protocol.struct import Struct
from clusters.admin import parse
from clusters.admin.asking import RETRY_PAUSE_S, Asking
from clusters.admin.connections import Deadline
from clusters.admin.errors import AdminError, UnknownTopic
from clusters.admin.model import ConfigEntry

ConfigKind = Literal["topic", "broker"]
RESOURCE_TYPES: Mapping[str, int] = {"topic": 2, "broker": 4}
SET = 0
DELETE = 1
SEEN_WAIT_MS = 1_000


class ConfigCalls(Asking):
    """What the admin client can do with settings.

    A broker's name is its id; "" stands for the default of all brokers.
    """

    async def configs(
        self, kind: ConfigKind, name: str, *, documentation: bool = False
    ) -> list[ConfigEntry]:
        """Every setting of a topic or broker, sorted by name. Raises UnknownTopic, AdminError."""
        return await self._configs(kind, name, self._deadline(), documentation)

    async def topic_settings(
        self, topics: Collection[str], keys: Iterable[str]
    ) -> dict[str, dict[str, str]]:
        """Values of some settings of many topics in one request; topics that fail are left out."""
        if not topics:
            return {}
        wanted = sorted(keys)
        body = Struct(
            resources=[
                Struct(
                    resource_type=RESOURCE_TYPES["topic"],
                    resource_name=name,
                    configuration_keys=wanted,
                )
                for name in sorted(topics)
            ],
            include_synonyms=False,
            include_documentation=False,
        )
        answer = await self._ask(ApiKey.DESCRIBE_CONFIGS, body, self._deadline())
        return {
            result.resource_name: {
                each.name: each.value for each in result.configs if each.value is not None
            }
            for result in answer.results
            if result.error_code == ErrorCode.none
        }

    async def alter_configs(
        self,
        kind: ConfigKind,
        name: str,
        set: Mapping[str, str] | None = None,  # noqa: A002 - the word of the contract
        unset: Iterable[str] = (),
        *,
        validate_only: bool = False,
    ) -> None:
        """Set settings, and let others go back to their default; all or none of them.

        Raises UnknownTopic, or AdminError with the cluster's reason.
        """
        changes = [(key, SET, value) for key, value in (set or {}).items()]
        changes += [(key, DELETE, "") for key in unset]
        deadline = self._deadline()
        body = Struct(
            resources=[
                Struct(
                    resource_type=RESOURCE_TYPES[kind],
                    resource_name=name,
                    configs=[
                        Struct(
                            name=key,
                            config_operation=operation,
                            value=value if operation == SET else None,
                        )
                        for key, operation, value in sorted(changes)
                    ],
                )
            ],
            validate_only=validate_only,
        )
        what = f"The settings of {_shown(kind, name)} were not changed"
        try:
            if kind == "broker" and name:
                await self._alter_broker(name, body, what, deadline)
            else:
                await self._change(
                    ApiKey.INCREMENTAL_ALTER_CONFIGS, body, "responses", what, deadline
                )
        except AdminError as error:
            if kind == "topic" and error.code == ErrorCode.unknown_topic_or_partition:
                raise UnknownTopic(name, await self._hint(name, deadline)) from None
            raise
        if kind == "topic" and not validate_only:
            await self._until_seen(name, changes, deadline)

    async def _until_seen(
        self, topic: str, changes: Sequence[tuple[str, int, str]], deadline: Deadline
    ) -> None:
        """Changed means committed; brokers show it some milliseconds later."""
        limit = Deadline.after(min(SEEN_WAIT_MS, deadline.left_ms()))
        while limit.left_ms() > 0:
            try:
                entries = {
                    entry.name: entry for entry in await self._configs("topic", topic, limit)
                }
            except LogctlError:
                return
            if all(
                key not in entries
                or entries[key].is_sensitive
                or (
                    entries[key].value == value
                    if operation == SET
                    else entries[key].source != "topic"
                )
                for key, operation, value in changes
            ):
                return
            await asyncio.sleep(RETRY_PAUSE_S / 5)

    async def _alter_broker(self, name: str, body: Struct, what: str, deadline: Deadline) -> None:
        """The broker itself checks its own settings, so it is asked when it runs."""
        address = (await self._addresses(deadline)).get(int(name)) if name.isdecimal() else None
        if address is None:
            await self._change(ApiKey.INCREMENTAL_ALTER_CONFIGS, body, "responses", what, deadline)
            return
        answer = await self._connections.request_at(
            address, ApiKey.INCREMENTAL_ALTER_CONFIGS, body, timeout_ms=deadline.left_ms()
        )
        result = answer.responses[0]
        if result.error_code != ErrorCode.none:
            words = self._words(ApiKey.INCREMENTAL_ALTER_CONFIGS, result.error_code, name, result)
            raise AdminError(f"{what}: {words}", code=int(result.error_code))

    async def _configs(
        self, kind: ConfigKind, name: str, deadline: Deadline, documentation: bool = False
    ) -> list[ConfigEntry]:
        body = Struct(
            resources=[
                Struct(
                    resource_type=RESOURCE_TYPES[kind], resource_name=name, configuration_keys=None
                )
            ],
            include_synonyms=True,
            include_documentation=documentation,
        )
        answer = await self._ask_owner(kind, name, body, deadline)
        for result in answer.results:
            if result.error_code == ErrorCode.unknown_topic_or_partition and kind == "topic":
                raise UnknownTopic(name, await self._hint(name, deadline))
            if result.error_code != ErrorCode.none:
                words = self._words(ApiKey.DESCRIBE_CONFIGS, result.error_code, name, result)
                raise AdminError(
                    f"The settings of {_shown(kind, name)}: {words}", code=int(result.error_code)
                )
            return parse.config_entries(result)
        return []

    async def _ask_owner(
        self, kind: ConfigKind, name: str, body: Struct, deadline: Deadline
    ) -> Struct:
        """Static broker settings are known to that broker alone; all else to any."""
        if kind == "broker" and name.isdecimal():
            addresses = await self._addresses(deadline)
            if int(name) not in addresses:
                known = ", ".join(map(str, sorted(addresses)))
                raise AdminError(
                    f"Broker {name} is not running, so its settings are not known; "
                    f"running are {known}"
                )
            try:
                return await self._connections.request_at(
                    addresses[int(name)],
                    ApiKey.DESCRIBE_CONFIGS,
                    body,
                    timeout_ms=deadline.left_ms(),
                )
            except LogctlError as error:
                raise AdminError(f"The settings of broker {name}: {error}") from None
        return await self._ask(ApiKey.DESCRIBE_CONFIGS, body, deadline)


def _shown(kind: str, name: str) -> str:
    if kind == "broker":
        return f"broker {name}" if name else "all brokers"
    return f'topic "{name}"'
