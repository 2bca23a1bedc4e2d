"""Calls on quotas of clients: read, change (KIP-546)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, LogctlError
from broker.protocol.struct import Struct
from clusters.admin.acls import SEEN_WAIT_MS, SecurityAsking
from clusters.admin.asking import RETRY_PAUSE_S
from clusters.admin.connections import Deadline
from clusters.admin.errors import AdminError
from clusters.admin.not_served import refusal
from clusters.admin.quota_model import ENTITY_TYPES, ClientQuota, Entity, entity_text

EXACT, DEFAULT, ANY = 0, 1, 2
Changes = Mapping[str, float | None]


class QuotaCalls(SecurityAsking):
    """What the admin client can do with quotas. All raise NotServed, NotAllowed or AdminError."""

    async def client_quotas(
        self, parts: Mapping[str, str | None] | None = None
    ) -> list[ClientQuota]:
        """Quotas whose entity has these parts (None for a name: the default), or all; sorted."""
        return await self._quotas(parts or {}, self._deadline())

    async def alter_quotas(
        self, changes: Mapping[Entity, Changes], *, validate_only: bool = False
    ) -> None:
        """Set limits of entities; None takes a limit away. Returns when a broker shows it.

        Raises AdminError that names each entity that was refused; the others are changed.
        """
        if not changes:
            return
        deadline = self._deadline()
        wanted = sorted(changes.items(), key=lambda item: _order(item[0]))
        body = Struct(
            entries=[
                Struct(
                    entity=[Struct(entity_type=kind, entity_name=name) for kind, name in who],
                    ops=[
                        Struct(key=key, value=value or 0.0, remove=value is None)
                        for key, value in sorted(limits.items())
                    ],
                )
                for who, limits in wanted
            ],
            validate_only=validate_only,
        )
        api_key = ApiKey.ALTER_CLIENT_QUOTAS
        results = await self._change_each(api_key, body, "entries", deadline)
        failed = [
            refusal(
                api_key,
                f"The quota of {entity_text(_entity(result))} was not changed",
                result.error_code,
                result.get("error_message"),
            )
            for result in results
            if result.error_code != ErrorCode.none
        ]
        if failed:
            raise failed[0] if len(failed) == 1 else AdminError("; ".join(map(str, failed)))
        if not validate_only:
            await self._until_quotas(changes, deadline)

    async def _quotas(
        self, parts: Mapping[str, str | None], deadline: Deadline
    ) -> list[ClientQuota]:
        body = Struct(
            components=[
                Struct(
                    entity_type=kind,
                    match_type=DEFAULT if name is None else EXACT,
                    match=name,
                )
                for kind, name in parts.items()
            ],
            strict=False,
        )
        what = "The quotas cannot be listed"
        answer = await self._ask_whole(ApiKey.DESCRIBE_CLIENT_QUOTAS, body, what, deadline)
        found = [
            ClientQuota(
                entity=_entity(entry), limits={each.key: each.value for each in entry.values}
            )
            for entry in answer.entries or ()
        ]
        return sorted(found, key=lambda quota: _order(quota.entity))

    async def _until_quotas(self, changes: Mapping[Entity, Changes], deadline: Deadline) -> None:
        """Changed means committed; brokers show it some milliseconds later."""
        limit = Deadline.after(min(SEEN_WAIT_MS, deadline.left_ms()))
        while limit.left_ms() > 0:
            try:
                shown = {each.entity: each.limits for each in await self._quotas({}, limit)}
            except LogctlError:
                return
            if all(
                shown.get(who, {}).get(name) == value
                for who, limits in changes.items()
                for name, value in limits.items()
            ):
                return
            await asyncio.sleep(RETRY_PAUSE_S / 5)


def _entity(entry: Any) -> Entity:
    parts = {each.entity_type: each.entity_name for each in entry.entity}
    first = [(kind, parts.pop(kind)) for kind in ENTITY_TYPES if kind in parts]
    # Types that are newer than this come last, so that nothing is lost.
    return (*first, *sorted(parts.items()))


def _order(who: Entity) -> list[tuple[str, bool, str]]:
    return [(kind, name is not None, name or "") for kind, name in who]
