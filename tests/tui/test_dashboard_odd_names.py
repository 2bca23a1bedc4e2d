"""Names that a shell or a parser would take for something else; groups that nobody is in."""

import shlex

import pytest

from clusters.admin import GroupSummary, PartitionLag
from clusters.polls import Answer
from shell.cli import build, parse
from shell.commands import all_commands
from tui.actions import ACTIONS, Action
from tui.pages.base import Subject
from tui.pages.groups import drain, group_rows
from tui.pages.settings import SettingRow
from tui.store import GROUPS, LAGS, Store
from tui.words import with_flag

ODD = ("-odd", "--yes", "a b", "it's $HOME `x`", "--", "größe\u202e")


def setting_of(topic: str) -> SettingRow:
    """A setting of a topic of this name."""
    return SettingRow(
        kind="topic",
        owner=topic,
        name="retention.ms",
        value="5",
        source="dynamic topic",
        default="604800000",
        type="long",
        read_only=False,
        sensitive=False,
        documentation=None,
        layers=(),
    )


def words_of(action: Action, name: str) -> list[str]:
    """The command as it is run, flags and all, for something of this name."""
    kind = sorted(action.kinds)[-1]
    subject = None if kind == "cluster" else Subject(kind, "1" if kind == "broker" else name)
    if kind == "setting":
        subject = Subject(kind, "retention.ms", data=setting_of(name))
    fields = action.fields(subject)
    values = {field.name: field.default or ("1" if field.required else "") for field in fields}
    if action.name in ("create-topic", "alter-topic"):
        values |= {"name": name, "settings": "retention.ms=1d", "partitions": "3"}
    if action.name == "produce":
        values |= {"value": name, "key": name}
    words = action.words(subject, values)
    for flag in ("--dry-run",) * action.dry_run + ("--yes",) * action.yes:
        words = with_flag(words, flag)
    return words


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_a_name_stays_a_name_in_the_command_and_in_a_shell(action: Action, name: str) -> None:
    words = words_of(action, name)
    assert shlex.split(shlex.join(words)) == words
    invocation = parse(build(all_commands()), words)
    if action.about_subject and action.kinds & {"topic", "group", "setting"}:
        told = invocation.values.values()
        assert any(name in each for each in told if isinstance(each, str | list | tuple)), told
    assert bool(invocation.values.get("dry_run")) is action.dry_run


def lag(number: int) -> tuple[PartitionLag, ...]:
    return (
        PartitionLag(
            topic="orders",
            partition=0,
            committed=1_000 - number,
            start=0,
            end=1_000,
            lag=number,
            member=None,
        ),
    )


def test_a_group_without_members_drains_never_whatever_a_reset_did_to_its_lag(cluster) -> None:
    store = Store(cluster.status)
    for at_ms, number in enumerate((900, 600, 300)):
        answer = Answer({"idle": lag(number), "busy": lag(number)}, at_ms * 5_000)
        store.take(LAGS, answer)
    groups = [
        GroupSummary(
            group=name, state=state, protocol_type="consumer", group_type="classic", coordinator=1
        )
        for name, state in (("idle", "Empty"), ("busy", "Stable"))
    ]
    store.take(GROUPS, Answer(groups, 10_000))
    by_name = {row.group: row for row in group_rows(store)}
    assert drain(store, "idle", by_name["idle"].state) == "no members"
    assert drain(store, "busy", by_name["busy"].state) == "5 s"
    store.take(LAGS, Answer({"idle": lag(0)}, 15_000))
    assert drain(store, "idle", "Empty") == "caught up"
