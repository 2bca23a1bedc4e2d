"""Calls on SCRAM credentials of users: list, set, delete (KIP-554)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, LogctlError
from broker.protocol.struct import Struct
from clusters.admin.acl_model import word_of
from clusters.admin.acls import SEEN_WAIT_MS, SecurityAsking
from clusters.admin.asking import RETRY_PAUSE_S
from clusters.admin.connections import Deadline
from clusters.admin.errors import AdminError
from clusters.admin.not_served import refusal
from clusters.admin.scram_model import SCRAM_MECHANISMS, NewCredential, ScramCredential


class UserCalls(SecurityAsking):
    """What the admin client can do with users. All raise NotServed, NotAllowed or AdminError."""

    async def scram_users(self, users: Collection[str] | None = None) -> list[ScramCredential]:
        """The credentials of some users, or of all, sorted; a user without one is left out."""
        return await self._scram_users(users, self._deadline())

    async def set_scram(self, credentials: Iterable[NewCredential]) -> None:
        """Set credentials, in the place of those of the same user and mechanism.

        Raises AdminError that names each user that was refused; the others are set.
        """
        wanted = list(credentials)
        deadline = self._deadline()
        failed: list[AdminError] = []
        for mechanism in SCRAM_MECHANISMS:
            upsertions = [
                Struct(
                    name=each.user,
                    mechanism=SCRAM_MECHANISMS[mechanism],
                    iterations=each.iterations,
                    salt=each.salt,
                    salted_password=each.salted_password,
                )
                for each in wanted
                if each.mechanism == mechanism
            ]
            failed += await self._alter_scram([], upsertions, "was not set", deadline)
        _raise(failed)
        await self._until_users(
            {each.user for each in wanted},
            lambda shown: all(
                shown.get((each.user, each.mechanism)) == each.iterations for each in wanted
            ),
            deadline,
        )

    async def delete_scram(self, credentials: Iterable[tuple[str, str]]) -> None:
        """Delete credentials by (user, mechanism).

        Raises AdminError that names each user that was refused; the others' are deleted.
        """
        wanted = list(dict.fromkeys(credentials))
        deadline = self._deadline()
        failed: list[AdminError] = []
        for mechanism in SCRAM_MECHANISMS:
            deletions = [
                Struct(name=user, mechanism=SCRAM_MECHANISMS[mechanism])
                for user, its in wanted
                if its == mechanism
            ]
            failed += await self._alter_scram(deletions, [], "was not deleted", deadline)
        _raise(failed)
        await self._until_users(
            {user for user, _ in wanted},
            lambda shown: not any(key in shown for key in wanted),
            deadline,
        )

    async def _scram_users(
        self, users: Collection[str] | None, deadline: Deadline
    ) -> list[ScramCredential]:
        if users is not None and not users:
            return []
        # An empty list asks for all, as null does; but where a client may not ask, Apache Kafka
        # 4.3 answers the one with a refusal and the other never.
        names = [Struct(name=name) for name in sorted(set(users or ()))]
        what = "The SCRAM users cannot be listed"
        api_key = ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS
        answer = await self._ask_whole(api_key, Struct(users=names), what, deadline)
        found: list[ScramCredential] = []
        for result in answer.results:
            if result.error_code == ErrorCode.resource_not_found:
                continue
            if result.error_code != ErrorCode.none:
                message = result.get("error_message")
                raise refusal(api_key, f"The user {result.user}", result.error_code, message)
            found += [
                ScramCredential(
                    user=result.user,
                    mechanism=word_of(SCRAM_MECHANISMS, "mechanism", info.mechanism),
                    iterations=info.iterations,
                )
                for info in result.credential_infos
            ]
        return sorted(found)

    async def _alter_scram(
        self,
        deletions: list[Struct],
        upsertions: list[Struct],
        not_done: str,
        deadline: Deadline,
    ) -> list[AdminError]:
        """Change credentials of one mechanism: brokers take each user once in a request."""
        if not deletions and not upsertions:
            return []
        api_key = ApiKey.ALTER_USER_SCRAM_CREDENTIALS
        body = Struct(deletions=deletions, upsertions=upsertions)
        return [
            refusal(
                api_key,
                f'The credential of user "{result.user}" {not_done}',
                result.error_code,
                result.get("error_message"),
            )
            for result in await self._change_each(api_key, body, "results", deadline)
            if result.error_code != ErrorCode.none
        ]

    async def _until_users(
        self,
        users: set[str],
        reached: Callable[[dict[tuple[str, str], int]], bool],
        deadline: Deadline,
    ) -> None:
        """Changed means committed; brokers show it some milliseconds later."""
        limit = Deadline.after(min(SEEN_WAIT_MS, deadline.left_ms()))
        while limit.left_ms() > 0:
            try:
                shown = await self._scram_users(users, limit)
            except LogctlError:
                return
            if reached({(each.user, each.mechanism): each.iterations for each in shown}):
                return
            await asyncio.sleep(RETRY_PAUSE_S / 5)


def _raise(failed: list[AdminError]) -> None:
    if failed:
        # What the cluster does not serve or allow at all is said once.
        plain = len(failed) > 1 and type(failed[0]) is AdminError
        raise AdminError("; ".join(map(str, failed))) if plain else failed[0]
