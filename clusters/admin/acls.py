"""Calls on access rules: read, add, remove (DescribeAcls, CreateAcls, DeleteAcls)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, LogctlError, UnsupportedVersion
from broker.protocol.struct import Struct
from clusters.admin.acl_model import (
    ANY,
    FILTER_PATTERN_TYPES,
    OPERATIONS,
    PATTERN_TYPES,
    PERMISSIONS,
    RESOURCE_TYPES,
    Acl,
    AclFilter,
    code_of,
    word_of,
)
from clusters.admin.asking import LAST_CHANCE_MS, RETRY_CODES, RETRY_PAUSE_S, Asking
from clusters.admin.connections import Deadline
from clusters.admin.errors import AdminError
from clusters.admin.not_served import not_offered, refusal

SEEN_WAIT_MS = 1_000
NOTHING = AclFilter()


class SecurityAsking(Asking):
    """Asks what a cluster may not serve at all, and says then who does not, and the way out."""

    async def _ask_served(self, api_key: ApiKey, body: Struct, deadline: Deadline) -> Struct:
        """Ask any broker. Raises NotServed when it does not know the request."""
        try:
            return await self._connections.request_any(api_key, body, deadline=deadline)
        except UnsupportedVersion:
            raise not_offered(api_key, self._connections.last_good) from None

    async def _ask_whole(
        self, api_key: ApiKey, body: Struct, what: str, deadline: Deadline
    ) -> Struct:
        """Ask for an answer with an error code of its own; again while the controller moves."""
        while True:
            answer = await self._ask_served(api_key, body, deadline)
            code = answer.error_code
            if code == ErrorCode.none:
                return answer
            if code not in RETRY_CODES or deadline.left_ms() < LAST_CHANCE_MS:
                raise refusal(api_key, what, code, answer.get("error_message"))
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _change_each(
        self, api_key: ApiKey, body: Struct, field: str, deadline: Deadline
    ) -> list[Struct]:
        """Send changes that are answered one by one; again while the controller moves."""
        while True:
            answer = await self._ask_served(api_key, body, deadline)
            results: list[Struct] = getattr(answer, field)
            moving = any(result.error_code in RETRY_CODES for result in results)
            if not moving or deadline.left_ms() < LAST_CHANCE_MS:
                return results
            await asyncio.sleep(RETRY_PAUSE_S)


class AclCalls(SecurityAsking):
    """What the admin client can do with access rules.

    All raise NotServed where the brokers have none or run without an authorizer, and NotAllowed
    when this principal may not.
    """

    async def acls(self, wanted: AclFilter = NOTHING) -> list[Acl]:
        """The rules that a filter finds, sorted. Raises ValueError for words that there are not."""
        return await self._acls(wanted, self._deadline())

    async def create_acls(self, acls: Iterable[Acl]) -> None:
        """Add rules; those that are there stay. Returns when a broker shows them.

        Raises AdminError that names each rule that was not taken; the others are added.
        """
        rules = list(dict.fromkeys(acls))
        if not rules:
            return
        deadline = self._deadline()
        body = Struct(creations=[_creation(acl) for acl in rules])
        results = await self._change_each(ApiKey.CREATE_ACLS, body, "results", deadline)
        failed = [
            refusal(
                ApiKey.CREATE_ACLS,
                f"The rule {acl} was not added",
                result.error_code,
                result.get("error_message"),
            )
            for acl, result in zip(rules, results, strict=True)
            if result.error_code != ErrorCode.none
        ]
        _raise_all(failed, len(rules))
        await self._until_acls(rules, deadline, present=True)

    async def delete_acls(self, acls: Iterable[Acl]) -> list[Acl]:
        """Remove exactly these rules; returns those that were there, sorted.

        Raises AdminError that names each rule that was not removed; the others are.
        """
        rules = list(dict.fromkeys(acls))
        if not rules:
            return []
        deadline = self._deadline()
        body = Struct(filters=[_filter(AclFilter.exactly(acl)) for acl in rules])
        results = await self._change_each(ApiKey.DELETE_ACLS, body, "filter_results", deadline)
        removed: list[Acl] = []
        failed: list[AdminError] = []
        for acl, result in zip(rules, results, strict=True):
            for each in (result, *result.matching_acls):
                if each.error_code != ErrorCode.none:
                    what = f"The rule {acl} was not removed"
                    message = each.get("error_message")
                    failed.append(refusal(ApiKey.DELETE_ACLS, what, each.error_code, message))
                elif each is not result:
                    removed.append(_acl(each, each))
        _raise_all(failed, len(rules))
        await self._until_acls(rules, deadline, present=False)
        return sorted(removed)

    async def _acls(self, wanted: AclFilter, deadline: Deadline) -> list[Acl]:
        what = "The access rules cannot be listed"
        answer = await self._ask_whole(ApiKey.DESCRIBE_ACLS, _filter(wanted), what, deadline)
        return sorted(_acl(resource, acl) for resource in answer.resources for acl in resource.acls)

    async def _until_acls(
        self, rules: Collection[Acl], deadline: Deadline, *, present: bool
    ) -> None:
        """Changed means committed; brokers show it some milliseconds later."""
        limit = Deadline.after(min(SEEN_WAIT_MS, deadline.left_ms()))
        while limit.left_ms() > 0:
            try:
                shown = set(await self._acls(NOTHING, limit))
            except LogctlError:
                # Who may change rules need not be allowed to look at them.
                return
            if shown.issuperset(rules) if present else shown.isdisjoint(rules):
                return
            await asyncio.sleep(RETRY_PAUSE_S / 5)


def _raise_all(failed: list[AdminError], of: int) -> None:
    if not failed:
        return
    first = failed[0]
    # What the cluster does not serve or allow at all is said once.
    if len(failed) == 1 or type(first) is not AdminError:
        raise first
    text = f"{len(failed)} of {of} rules failed: " + "; ".join(map(str, failed))
    raise AdminError(text, code=first.code)


def _filter(wanted: AclFilter) -> Struct:
    return Struct(
        resource_type_filter=_code(RESOURCE_TYPES, "resource", wanted.resource),
        resource_name_filter=wanted.name,
        pattern_type_filter=code_of(FILTER_PATTERN_TYPES, "pattern", wanted.pattern),
        principal_filter=wanted.principal,
        host_filter=wanted.host,
        operation=_code(OPERATIONS, "operation", wanted.operation),
        permission_type=_code(PERMISSIONS, "permission", wanted.permission),
    )


def _code(words: Mapping[str, int], what: str, word: str | None) -> int:
    return ANY if word is None else code_of(words, what, word)


def _creation(acl: Acl) -> Struct:
    return Struct(
        resource_type=code_of(RESOURCE_TYPES, "resource", acl.resource),
        resource_name=acl.name,
        resource_pattern_type=code_of(PATTERN_TYPES, "pattern", acl.pattern),
        principal=acl.principal,
        host=acl.host,
        operation=code_of(OPERATIONS, "operation", acl.operation),
        permission_type=code_of(PERMISSIONS, "permission", acl.permission),
    )


def _acl(resource: Struct, acl: Struct) -> Acl:
    return Acl(
        principal=acl.principal,
        permission=word_of(PERMISSIONS, "permission", acl.permission_type),
        operation=word_of(OPERATIONS, "operation", acl.operation),
        resource=word_of(RESOURCE_TYPES, "resource", resource.resource_type),
        name=resource.resource_name,
        pattern=word_of(PATTERN_TYPES, "pattern", resource.pattern_type),
        host=acl.host,
    )
