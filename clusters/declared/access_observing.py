"""Finds out what exists of users, access rules and quotas, through the admin client alone.

What a cluster does not serve, or does not show to this principal, is told as that; what failed
otherwise is a problem, and stays unknown.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from broker.protocol.errors import LogctlError
from clusters.declared.access_model import AccessWorld

if TYPE_CHECKING:
    from clusters.admin import AdminClient
    from clusters.admin.acl_model import Acl
    from clusters.admin.quota_model import Entity


async def observe_access(
    admin: AdminClient, sections: Collection[str], problems: list[str]
) -> AccessWorld:
    """What exists in these sections; adds to `problems` what could not be found out."""
    from clusters.admin import NotAllowed, NotServed

    users: dict[str, dict[str, int]] | None = None
    acls: frozenset[Acl] | None = None
    quotas: dict[Entity, dict[str, float]] | None = None
    unserved: dict[str, str] = {}
    for section in sections:
        try:
            if section == "users":
                credentials = await admin.scram_users()
                users = {each.user: {} for each in credentials}
                for each in credentials:
                    users[each.user][each.mechanism] = each.iterations
            elif section == "acls":
                acls = frozenset(await admin.acls())
            else:
                quotas = {q.entity: dict(q.limits) for q in await admin.client_quotas()}
        except (NotServed, NotAllowed) as error:
            unserved[section] = str(error)
        except LogctlError as error:
            problems.append(f"{section}: {error}")
    return AccessWorld(
        principal=admin.principal,
        users=users,
        acls=acls,
        quotas=quotas,
        unserved=unserved,
    )
