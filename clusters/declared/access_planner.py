"""What has to change of users, access rules and quotas: steps with reasons, and refusals. Pure.

Pruning concerns only the sections that the files have. It never takes the rules or credentials of
whom the plan is made for: that is refused, loudly, and nothing is done at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from clusters.admin.acl_model import Acl
from clusters.admin.quota_model import Entity, entity_text, shown_number
from clusters.admin.scram_model import DEFAULT_ITERATIONS, ITERATIONS_MIN
from clusters.declared.access_model import (
    EVERYBODY,
    SECTIONS,
    Access,
    AccessWorld,
    DeclaredQuota,
    DeclaredUser,
)
from clusters.declared.model import Where
from clusters.declared.selecting import Selection
from clusters.declared.steps import Kind, Step
from clusters.errors import Problem

# Doomed rules, with the place that dooms each and whether it is pruning that does.
_Doomed = dict[Acl, tuple[Where, bool]]


@dataclass(slots=True)
class AccessPlanner:
    """Plans one world; read `steps`, `refusals`, `notes` and `unknown` after `plan`."""

    declared: Access
    world: AccessWorld
    selection: Selection
    prune: bool
    steps: list[Step] = field(default_factory=list)
    refusals: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def plan(self) -> None:
        """Compare the sections that the files have."""
        for section in SECTIONS:
            where = self.declared.sections.get(section)
            if where is None or not self._selected(section):
                continue
            reason = self.world.unserved.get(section)
            if reason is not None:
                self._refuse(where, f"{section} cannot be declared for this cluster. {reason}")
            elif getattr(self.world, section) is None:
                self.unknown.append(f"{section}: not known")
            else:
                getattr(self, f"_{section}")(where)

    def _selected(self, section: str) -> bool:
        chosen = {
            "users": any(map(self.selection.user, self.declared.users.values())),
            "acls": any(
                self.selection.rule(rule, entry.labels)
                for entry in self.declared.acls
                for rule in entry.rules
            ),
            "quotas": any(map(self.selection.quota, self.declared.quotas.values())),
        }
        # With pruning a section that declares nothing says that nothing is to be there.
        return chosen[section] or self.prune

    def _refuse(self, where: Where, message: str) -> None:
        self.refusals.append(Problem(file=where.file, line=where.line, message=message))

    def _guard(self, principal: str) -> Where | None:
        """The place that protects a principal, or None."""
        found = (at for glob, at in self.declared.protected if fnmatchcase(principal, glob))
        return next(found, None)

    # Users

    def _users(self, where: Where) -> None:
        there = self.world.users or {}
        for name, user in sorted(self.declared.users.items()):
            if not self.selection.user(user):
                continue
            found = there.get(name, {})
            if user.absent:
                if found:
                    self._delete_user(name, found, user.where, "declared absent", pruning=False)
                continue
            self._set_user(user, found)
            surplus = {each: n for each, n in found.items() if each not in user.mechanisms}
            if surplus and self.prune:
                reason = "not declared (pruning)"
                self._delete_user(name, surplus, user.where, reason, pruning=True)
        for name, found in sorted(there.items()) if self.prune else ():
            if name not in self.declared.users and self.selection.undeclared_user(name):
                self._delete_user(name, found, where, "not declared (pruning)", pruning=True)

    def _set_user(self, user: DeclaredUser, there: Mapping[str, int]) -> None:
        wanted: dict[str, int] = {}
        reasons: list[str] = []
        for mechanism, iterations in sorted(user.mechanisms.items()):
            now = there.get(mechanism)
            if now is None:
                wanted[mechanism] = iterations or DEFAULT_ITERATIONS
                reasons.append(f"has no {mechanism} credential")
            elif iterations is not None and now != iterations:
                wanted[mechanism] = iterations
                reasons.append(f"{mechanism} has {now} iterations, {iterations} declared")
            elif user.rotate:
                wanted[mechanism] = iterations or max(now, ITERATIONS_MIN)
                reasons.append(f"rotate: the {mechanism} password is set anew")
        if not wanted:
            return
        if user.password is None:
            message = (
                f"user {user.name}: {reasons[0]}, and no password is named; write "
                "password: env:VARIABLE"
            )
            self._refuse(user.where, message)
            return
        self.steps.append(
            Step(
                kind=Kind.SET_USER,
                name=user.name,
                before={"mechanisms": {each: there.get(each) for each in wanted}},
                after={"mechanisms": wanted, "password": user.password},
                reasons=tuple(reasons),
                where=str(user.where),
            )
        )

    def _delete_user(
        self,
        name: str,
        found: Mapping[str, int],
        where: Where,
        reason: str,
        *,
        pruning: bool,
    ) -> None:
        mechanisms = dict(found)
        guard = self._guard(f"User:{name}")
        if guard is not None:
            if pruning:
                self.notes.append(f"user {name}: {reason}, protected by {guard}, left alone")
            else:
                self._refuse(where, f"user {name}: is protected by {guard}")
            return
        if self._is_own(f"User:{name}", where, f"the credentials of user {name}", pruning):
            return
        self.steps.append(
            Step(
                kind=Kind.DELETE_USER,
                name=name,
                before={"mechanisms": mechanisms},
                after={"mechanisms": dict.fromkeys(mechanisms)},
                reasons=(reason,),
                where=str(where),
            )
        )

    def _is_own(self, principal: str, where: Where, what: str, pruning: bool) -> bool:
        """Refuse what would lock out whom the plan is made for."""
        own = self.world.principal
        if own is None and pruning and not self.declared.protected:
            self._refuse(
                where,
                f"pruning would remove {what}, and only the brokers know as whom this is applied; "
                "name yourself in protect_principals",
            )
            return True
        if own is not None and principal == own:
            how = "pruning" if pruning else "this file"
            self._refuse(
                where,
                f"{how} would remove {what}, and this is applied as {own}: you would lock yourself "
                "out. Declare them, name yourself in protect_principals, or apply as another",
            )
            return True
        return False

    # Rules

    def _acls(self, where: Where) -> None:
        there = self.world.acls or frozenset()
        missing: dict[Acl, Where] = {}
        doomed: _Doomed = {}
        for entry in self.declared.acls:
            for rule in entry.rules:
                if not self.selection.rule(rule, entry.labels):
                    continue
                if entry.absent and rule in there:
                    doomed.setdefault(rule, (entry.where, False))
                elif not entry.absent and rule not in there:
                    missing.setdefault(rule, entry.where)
        if self.prune:
            known = {rule for entry in self.declared.acls for rule in entry.rules}
            for rule in there - known:
                if self.selection.rule(rule, {}):
                    doomed[rule] = (where, True)
        for who in sorted({rule.principal for rule in missing}):
            rules = sorted(rule for rule in missing if rule.principal == who)
            places = dict.fromkeys(str(missing[rule]) for rule in rules)
            self.steps.append(
                Step(
                    kind=Kind.ADD_ACLS,
                    name=who,
                    before={"present": []},
                    after={"acls": [rule.to_json() for rule in rules]},
                    reasons=tuple(f"missing: {_without(rule)}" for rule in rules),
                    where=", ".join(places),
                )
            )
        self._remove_rules(doomed)

    def _remove_rules(self, doomed: _Doomed) -> None:
        for who in sorted({rule.principal for rule in doomed}):
            rules = sorted(rule for rule in doomed if rule.principal == who)
            kept = self._spared(who, [(rule, *doomed[rule]) for rule in rules])
            if not kept:
                continue
            places = dict.fromkeys(str(doomed[rule][0]) for rule in kept)
            data = [rule.to_json() for rule in kept]
            self.steps.append(
                Step(
                    kind=Kind.REMOVE_ACLS,
                    name=who,
                    before={"present": data},
                    after={"acls": data},
                    reasons=tuple(
                        f"{'not declared (pruning)' if doomed[rule][1] else 'declared absent'}: "
                        f"{_without(rule)}"
                        for rule in kept
                    ),
                    where=", ".join(places),
                )
            )

    def _spared(self, who: str, rules: Iterable[tuple[Acl, Where, bool]]) -> list[Acl]:
        """Those of the rules of a principal that may go; refuses or notes the others."""
        kept: list[Acl] = []
        told: set[bool] = set()
        guard = self._guard(who)
        for rule, where, pruning in rules:
            # Of rules for everybody nobody knows whom they let in.
            own = self.world.principal if who == EVERYBODY and pruning else who
            if guard is not None:
                if pruning and pruning not in told:
                    self.notes.append(f"rules of {who}: protected by {guard}, left alone")
                elif not pruning:
                    self._refuse(where, f"{rule}: is protected by {guard}")
            elif rule.permission == "deny":
                # Nobody is locked out by a rule less that denies.
                kept.append(rule)
                continue
            elif pruning in told:
                continue
            elif not self._is_own(own or who, where, f"rules of {who}", pruning):
                kept.append(rule)
                continue
            told.add(pruning)
        return kept

    # Quotas

    def _quotas(self, where: Where) -> None:
        there = self.world.quotas or {}
        for who, quota in sorted(self.declared.quotas.items(), key=lambda each: str(each[0])):
            if self.selection.quota(quota):
                self._quota(quota, dict(there.get(who, {})))
        for who, found in there.items() if self.prune else ():
            if who not in self.declared.quotas and self.selection.undeclared_quota(who):
                reason = "not declared (pruning)"
                self._limit(who, dict(found), dict.fromkeys(found), [reason], where)

    def _quota(self, quota: DeclaredQuota, found: dict[str, float]) -> None:
        wanted: dict[str, float | None] = {}
        reasons: list[str] = []
        if quota.absent and found:
            wanted, reasons = dict.fromkeys(found), ["declared absent"]
        for name, value in sorted(quota.limits.items()):
            now = found.get(name)
            if now != value:
                wanted[name] = value
                reasons.append(f"{name} is {_number(now)}, {_number(value)} declared")
        for name, now in sorted(found.items()) if self.prune and not quota.absent else ():
            if name not in quota.limits:
                wanted[name] = None
                reasons.append(f"{name} is {_number(now)} and not declared (pruning)")
        if wanted:
            self._limit(quota.entity, found, wanted, reasons, quota.where)

    def _limit(
        self,
        who: Entity,
        found: dict[str, float],
        wanted: dict[str, float | None],
        reasons: list[str],
        where: Where,
    ) -> None:
        self.steps.append(
            Step(
                kind=Kind.SET_QUOTA,
                name=entity_text(who),
                before={"limits": {name: found.get(name) for name in wanted}},
                after={"entity": [list(part) for part in who], "limits": wanted},
                reasons=tuple(reasons),
                where=str(where),
            )
        )


def _without(rule: Acl) -> str:
    return str(rule).removeprefix(f"{rule.principal} ")


def _number(value: float | None) -> str:
    return "not set" if value is None else shown_number(value)
