"""Settings of topics and brokers: get, set, unset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from shell.exits import UsageProblem
from shell.nearest import did_you_mean
from shell.output import Block, Cell, Facts, Table
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session

if TYPE_CHECKING:
    from clusters.admin import AdminClient, ConfigEntry

OF = Argument("OF", "What has the settings.", kind=Kind.CHOICE, choices=("topic", "broker"))
NAME = Argument(
    "NAME",
    "The topic; or the broker's id, or `default` for all brokers.",
    kind=Kind.CONFIG_OWNER,
)
# So is written what holds for all brokers that have nothing of their own.
ALL_BROKERS = "default"


def settings_as_plain(pairs: Sequence[tuple[str, str]], where: str) -> dict[str, str]:
    """Settings as the cluster wants them: `7d` and `64MiB` become plain numbers."""
    from clusters.units import setting_text

    settings: dict[str, str] = {}
    for name, value in pairs:
        if name in settings:
            raise UsageProblem(f"{where}{name} is given twice.")
        try:
            settings[name] = setting_text(name, value)
        except ValueError as error:
            raise UsageProblem(f"{where}{name}={value}: {error}") from error
    return settings


def _target(of: str, name: str) -> tuple[Literal["topic", "broker"], str]:
    if of == "topic":
        return "topic", name
    if name != ALL_BROKERS and not name.isdecimal():
        raise UsageProblem(f"'{name}' is no broker; write its id, or {ALL_BROKERS} for all.")
    return "broker", "" if name == ALL_BROKERS else name


def check_keys(keys: Sequence[str], entries: Sequence[ConfigEntry], what: str) -> None:
    """Refuse keys that there are not, naming the nearest. Raises UsageProblem."""
    known = [entry.name for entry in entries]
    for key in keys:
        if known and key not in known:
            raise UsageProblem(
                f"There is no setting '{key}' of a {what}." + did_you_mean(key, known),
                hint=f"See `logctl config get {what} NAME --all`.",
            )


def settings_table(entries: Sequence[ConfigEntry]) -> Table:
    """Settings with where each value comes from."""
    return Table(
        ("SETTING", "VALUE", "SOURCE", "TYPE", "READ-ONLY"),
        [
            (
                entry.name,
                Cell("(hidden)", "dim") if entry.is_sensitive else entry.value,
                Cell(entry.source, "dim" if entry.is_default else "note"),
                entry.type,
                "yes" if entry.read_only else None,
            )
            for entry in entries
        ],
    )


async def _get(
    session: Session,
    *,
    of: str,
    name: str,
    keys: Sequence[str],
    all: bool,  # noqa: A002 - the option's name
    documentation: bool,
) -> None:
    kind, resource = _target(of, name)
    async with session.admin() as admin:
        entries = await admin.configs(kind, resource, documentation=documentation)
    check_keys(keys, entries, of)
    shown = [
        entry for entry in entries if (entry.name in keys if keys else all or not entry.is_default)
    ]
    if not shown:
        session.output.say("Everything has its default; --all shows it.", "dim")

    def blocks() -> list[Block]:
        if not documentation:
            return [settings_table(shown)]
        return [_documented(entry) for entry in shown]

    session.output.document([entry.to_json() for entry in shown], blocks)


def _documented(entry: ConfigEntry) -> Facts:
    origins = [f"{value} ({source}: {name})" for name, value, source in entry.synonyms]
    return Facts(
        [
            (entry.name, "(hidden)" if entry.is_sensitive else entry.value),
            ("source", entry.source),
            ("type", entry.type),
            ("values by precedence", "\n".join(origins) or None),
            ("documentation", entry.documentation),
        ]
    )


async def _set(
    session: Session, *, of: str, name: str, settings: Sequence[tuple[str, str]], dry_run: bool
) -> None:
    await change(session, of, name, settings_as_plain(settings, ""), (), dry_run=dry_run)


async def _unset(
    session: Session, *, of: str, name: str, keys: Sequence[str], dry_run: bool
) -> None:
    await change(session, of, name, {}, keys, dry_run=dry_run)


async def change(
    session: Session,
    of: str,
    name: str,
    settings: Mapping[str, str],
    unset: Sequence[str],
    *,
    dry_run: bool,
) -> None:
    """Change settings, and show each before and after; all of them or none."""
    kind, resource = _target(of, name)
    async with session.admin() as admin:
        entries = await _reference(admin, kind, resource)
        check_keys([*settings, *unset], entries, of)
        before = {entry.name: entry for entry in await admin.configs(kind, resource)}
        await admin.alter_configs(kind, resource, settings, unset, validate_only=dry_run)
    changed: list[dict[str, Any]] = []
    for key in sorted({*settings, *unset}):
        old = before.get(key)
        hidden = old is not None and old.is_sensitive
        changed.append(
            {
                "setting": key,
                "before": None if old is None else old.value,
                "before_source": None if old is None else old.source,
                "after": None if hidden else settings.get(key),
                "unset": key not in settings,
            }
        )
    session.output.document(
        changed,
        lambda: [
            Table(
                ("SETTING", "BEFORE", "SOURCE", "AFTER"),
                [
                    (
                        each["setting"],
                        each["before"],
                        each["before_source"],
                        Cell("(default)" if each["unset"] else each["after"], "note"),
                    )
                    for each in changed
                ],
            )
        ],
    )
    shown = f"{of} {name}"
    session.output.say(
        f"The cluster would take these settings of {shown}; nothing was changed."
        if dry_run
        else f"Changed {len(changed)} setting{'' if len(changed) == 1 else 's'} of {shown}."
    )


async def _reference(admin: AdminClient, kind: str, resource: str) -> list[ConfigEntry]:
    """Entries that name every key there is; of all brokers only what is set is told."""
    if kind == "broker" and not resource:
        up = [broker.id for broker in await admin.brokers() if broker.state == "up"]
        return await admin.configs("broker", str(min(up))) if up else []
    return await admin.configs("topic" if kind == "topic" else "broker", resource)


_DRY_RUN = Option(("--dry-run",), "Only ask whether the cluster would take it.", kind=Kind.FLAG)

COMMANDS = (
    Command(
        name="config get",
        summary="Show settings of a topic or broker, and where each value comes from.",
        details="Without KEYS those that somebody set.",
        arguments=(
            OF,
            NAME,
            Argument("KEYS", "Settings.", kind=Kind.CONFIG_KEY, required=False, many=True),
        ),
        options=(
            Option(("--all",), "Also what has its default.", kind=Kind.FLAG),
            Option(("--documentation",), "With Kafka's words on each setting.", kind=Kind.FLAG),
        ),
        examples=(
            "config get topic orders",
            "config get topic orders retention.ms --documentation",
            "config get broker 2 --all",
        ),
        run=_get,
    ),
    Command(
        name="config set",
        summary="Change settings of a topic, a broker or all brokers while they run.",
        arguments=(
            OF,
            NAME,
            Argument(
                "SETTINGS", "KEY=VALUE; 7d and 64MiB are understood.", Kind.TOPIC_CONFIG, many=True
            ),
        ),
        options=(_DRY_RUN,),
        examples=(
            "config set topic orders retention.ms=7d",
            "config set broker default log.cleaner.threads=2 --dry-run",
        ),
        run=_set,
        changes=True,
    ),
    Command(
        name="config unset",
        summary="Let settings go back to their default.",
        arguments=(OF, NAME, Argument("KEYS", "Settings.", kind=Kind.CONFIG_KEY, many=True)),
        options=(_DRY_RUN,),
        examples=("config unset topic orders retention.ms",),
        run=_unset,
        changes=True,
    ),
)
