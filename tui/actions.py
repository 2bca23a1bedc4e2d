"""What can be done from the dashboard: actions, each of them a `logctl` command.

Declared as data: the questions an action asks, and the words of its command. What it will touch is
shown by the command's own `--dry-run`, so the dashboard and the command line never say different
things. Must never change anything that was not shown first; in a read-only context no action
applies.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tui.commands import CommandProblem, known_name
from tui.doors import Commander
from tui.pages.base import Subject
from tui.words import command, split_words

if TYPE_CHECKING:
    from tui.app import DashboardApp
    from tui.model import ClusterView

Values = dict[str, str]
TOPIC_LIKE = frozenset({"topic", "partition"})


@dataclass(frozen=True, slots=True)
class Field:
    """A question of an action; `required` ones must be answered before anything is shown."""

    name: str
    title: str
    default: str = ""
    hint: str = ""
    required: bool = False


def _no_fields(_: Subject | None) -> Sequence[Field]:
    return ()


def _no_words(_: "ClusterView", __: Subject | None) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """`name` is its word after `:`, `key` the key on pages whose subject is one of `kinds`.

    `words(subject, values)` is the command. `dry_run` says whether the command can show what it
    would do; `preview(view, subject)` are lines known without asking. `typed` asks for the
    subject's name to be typed, `yes` answers the command's own question. `deploys` marks what is
    possible only where we run the processes.
    """

    name: str
    key: str
    title: str
    kinds: frozenset[str]
    words: Callable[[Subject | None, Values], list[str]]
    fields: Callable[[Subject | None], Sequence[Field]] = _no_fields
    preview: Callable[["ClusterView", Subject | None], Sequence[str]] = _no_words
    dry_run: bool = True
    typed: bool = False
    deploys: bool = False
    yes: bool = True
    about_subject: bool = True

    def applies(self, subject: Subject | None) -> bool:
        """Whether it can be done with a subject."""
        return (subject.kind if subject is not None else "cluster") in self.kinds

    def start(self, app: "DashboardApp", subject: Subject | None) -> None:
        """Ask, show, do. The dialog has the keys at once: letters that follow are meant for it."""
        from tui.action_screen import ActionScreen

        if app.commander is not None:
            about = subject if self.about_subject else None
            app.push_screen(ActionScreen(self, about, app.commander, app.page.desk))


def actions_for(
    subject: Subject | None, *, read_only: bool, commander: Commander | None
) -> list[Action]:
    """What can be done with a subject; nothing where changes are refused."""
    if read_only or commander is None:
        return []
    return [
        action
        for action in ACTIONS
        if action.applies(subject) and (commander.deploys or not action.deploys)
    ]


def possible_actions(*, read_only: bool, commander: Commander | None) -> dict[str, Action]:
    """What can be done at all, by its name; nothing where changes are refused."""
    if read_only or commander is None:
        return {}
    return {each.name: each for each in ACTIONS if commander.deploys or not each.deploys}


def why_impossible(*, read_only: bool) -> str:
    """Why an action that there is cannot be done with the cluster that is shown."""
    if read_only:
        return "This context is read-only: nothing can be changed here."
    return "logctl does not run the brokers of this cluster: its context names no file of it."


@dataclass(frozen=True, slots=True)
class Offer:
    """An action, what it would be done with, and its keys."""

    action: Action
    subject: Subject | None
    keys: tuple[str, ...]


def offers(
    subjects: Sequence[Subject | None],
    *,
    read_only: bool,
    commander: Commander | None,
    chosen: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> list[Offer]:
    """What can be done where somebody stands: `subjects` are what is meant, the nearest first.

    Each action goes to the first subject that it fits; a key belongs to the nearest that wants it.
    `chosen` are keys by `action.NAME`, for those that do not have their own.
    """
    found: dict[str, Offer] = {}
    keys: set[str] = set()
    for subject in subjects:
        mine = [
            Offer(action, subject, chosen.get(f"action.{action.name}", (action.key,)))
            for action in actions_for(subject, read_only=read_only, commander=commander)
            if action.name not in found
        ]
        mine = [each for each in mine if not keys.intersection(each.keys)]
        found.update({each.action.name: each for each in mine})
        keys.update(key for each in mine for key in each.keys)
    return list(found.values())


def named_subject(action: Action, words: str, known: Mapping[str, Iterable[str]]) -> Subject | None:
    """What `:ACTION WORDS` means; None for the whole cluster. Raises CommandProblem."""
    kinds = action.kinds - {"cluster"}
    if "setting" in kinds:
        raise CommandProblem(
            f":{action.name} is about the setting under the cursor: open them with :settings NAME."
        )
    if not words:
        if "cluster" in action.kinds:
            return None
        kind = "topic" if kinds & TOPIC_LIKE else next(iter(kinds))
        raise CommandProblem(f"Which {kind}? Type :{action.name} {kind.upper()}.")
    if not kinds or not action.about_subject:
        raise CommandProblem(f":{action.name} takes no name; leave out {words}.")
    if not kinds & TOPIC_LIKE:
        kind = next(iter(kinds))
        return Subject(kind, known_name(kind, words, list(known.get(kind, ()))))
    topic, colon, partition = words.partition(":")
    name = known_name("topic", topic, list(known.get("topic", ())))
    if not colon:
        return Subject("topic", name)
    if "partition" not in kinds or not partition.isdigit():
        raise CommandProblem(f":{action.name} takes a topic, not {words}.")
    return Subject("partition", name, int(partition))


def _target(subject: Subject | None) -> str:
    """TOPIC or TOPIC:PARTITION, as commands take it."""
    assert subject is not None
    return subject.name if subject.partition is None else f"{subject.name}:{subject.partition}"


def _name(subject: Subject | None) -> str:
    assert subject is not None
    return subject.name


def _option(flag: str, value: str) -> list[str]:
    return [flag, value] if value else []


def _settings(text: str, flag: str = "--config") -> list[str]:
    return [word for each in split_words(text) for word in (flag, each)]


def _create(_: Subject | None, values: Values) -> list[str]:
    return command(
        "topic create",
        values["name"],
        *_option("--partitions", values["partitions"]),
        *_option("--replication", values["replication"]),
        *_settings(values["settings"]),
    )


def _alter(subject: Subject | None, values: Values) -> list[str]:
    return command(
        "topic alter",
        _name(subject),
        *_option("--partitions", values["partitions"]),
        *_settings(values["settings"]),
        *_settings(values["unset"], "--unset"),
    )


def _set(subject: Subject | None, values: Values) -> list[str]:
    assert subject is not None
    row = subject.data
    return _config("set", row, f"{row.name}={values['value']}")


def _config(verb: str, row: Any, word: str) -> list[str]:
    """A command about a setting; what has it stays a name when it begins with a hyphen."""
    name = ["--", row.owner] if row.owner.startswith("-") else [row.owner]
    return ["config", verb, row.kind, *name, word]


def _set_fields(subject: Subject | None) -> Sequence[Field]:
    value = getattr(getattr(subject, "data", None), "value", None) or ""
    return (Field("value", "Value", value, "7d and 64MiB are understood", required=True),)


def _unset(subject: Subject | None, _: Values) -> list[str]:
    assert subject is not None
    row = subject.data
    return _config("unset", row, row.name)


def _move(subject: Subject | None, values: Values) -> list[str]:
    brokers = ",".join(values["brokers"].replace(",", " ").split())
    how = [*_option("--throttle", values["throttle"]), "--wait"]
    if subject is not None and subject.partition is not None:
        # Exactly these, the first of them preferred; more or fewer than now are possible, too.
        return command("partition move", f"{_target(subject)}={brokers}", *how)
    return command("partition move", _target(subject), "--to-brokers", brokers, *how)


def _move_fields(subject: Subject | None) -> Sequence[Field]:
    replicas = getattr(subject.data, "replicas", ()) if subject is not None else ()
    return (
        Field(
            "brokers",
            "Brokers that hold it afterwards",
            ",".join(str(each) for each in replicas) if isinstance(replicas, Sequence) else "",
            "1,2,3; the first is the preferred leader"
            if subject is not None and subject.partition is not None
            else "1,2,3; what may stay stays, as many of each as now",
            required=True,
        ),
        Field("throttle", "Bytes per second of each broker", hint="no limit; 10MiB"),
    )


def _reset(subject: Subject | None, values: Values) -> list[str]:
    topics = [
        word for each in values["topics"].split() for word in ("--topic", each.replace("*", ""))
    ]
    saved = _option("--to-file", values["saved"])
    return command("group reset", _name(subject), "--to", values["to"], *topics, *saved)


def _forget(subject: Subject | None, values: Values) -> list[str]:
    group, partitions = _name(subject), split_words(values["topics"])
    hyphen = any(each.startswith("-") for each in (group, *partitions))
    return ["group", "delete-offsets", *(["--"] if hyphen else []), group, *partitions]


def _produce(subject: Subject | None, values: Values) -> list[str]:
    place = subject.partition if subject is not None else None
    key, headers = values["key"], split_words(values["headers"])
    # A hyphen at the beginning, or two alone, stay within their option: the look is no writing.
    options = [
        *([f"--key={key}"] if key.startswith("-") else _option("--key", key)),
        *(["--partition", str(place)] if place is not None else []),
        *(
            word
            for each in headers
            for word in ([f"--header={each}"] if each.startswith("-") else ["--header", each])
        ),
    ]
    if _name(subject).startswith("-"):
        return ["produce", *options, "--", _name(subject), values["value"]]
    return ["produce", _name(subject), *options, "--", values["value"]]


def _produce_preview(_: "ClusterView", subject: Subject | None) -> Sequence[str]:
    place = (
        "" if subject is None or subject.partition is None else f", partition {subject.partition}"
    )
    return (f"Appends one record to {_name(subject)}{place}. A record cannot be taken back.",)


def _unknown(node: int) -> Sequence[str]:
    return (f"What broker {node} holds is not known: the cluster was not heard yet.",)


def _broker_preview(view: "ClusterView", subject: Subject | None) -> Sequence[str]:
    """What loses a replica for a while, and what would refuse writes."""
    node = int(_name(subject))
    if not view.brokers:
        return _unknown(node)
    touched = [row for row in view.partitions if node in row.replicas]
    leads = sum(1 for row in touched if row.leader == node)
    alone = [row for row in touched if row.isr and set(row.isr) == {node}]
    low = [
        row
        for row in touched
        if node in row.isr and row.min_isr is not None and len(row.isr) - 1 < row.min_isr
    ]
    said = [f"Broker {node} holds {len(touched)} replicas and leads {leads} partitions."]
    if alone:
        said.append(f"✖ {len(alone)} partitions would go offline: {_some(alone)}")
    if low:
        said.append(f"◔ {len(low)} partitions would refuse acks=all: {_some(low)}")
    if not alone and not low:
        said.append("No partition would go offline or below min.insync.replicas.")
    return said


def _start_preview(view: "ClusterView", subject: Subject | None) -> Sequence[str]:
    """What a broker that comes back brings along."""
    node = int(_name(subject))
    if not view.brokers:
        return _unknown(node)
    state = next((row.state for row in view.brokers if row.id == node), "not known")
    if state == "up":
        return (f"Broker {node} is up: nothing is to be started.",)
    touched = [row for row in view.partitions if node in row.replicas]
    behind = sum(1 for row in touched if node not in row.isr)
    offline = [row for row in touched if row.leader < 0]
    holds = f"It holds {len(touched)} replicas; {behind} are behind and will catch up."
    said = [f"Broker {node} is {state}. {holds}"]
    if offline:
        said.append(f"{len(offline)} partitions are offline until it is back: {_some(offline)}")
    return said


def _unclean_preview(view: "ClusterView", subject: Subject | None) -> Sequence[str]:
    """What it costs, and who has all records and would only have to be started."""
    said = ["A replica that is behind may lead: what only the old leader had is lost for good."]
    rows = view.rows_of(subject.name if subject is not None else "")
    meant = [
        row
        for row in rows
        if row.leader < 0 and (subject is None or subject.partition in (None, row.partition))
    ]
    whole = sorted({broker for row in meant for broker in row.isr})
    if whole:
        names = " or ".join(map(str, whole))
        said.append(f"Broker {names} has all of it: started, it leads again and nothing is lost.")
    return said


def _unregister_preview(view: "ClusterView", subject: Subject | None) -> Sequence[str]:
    """What still counts on a broker that is to be forgotten."""
    node = int(_name(subject))
    if not view.brokers:
        return _unknown(node)
    state = next((row.state for row in view.brokers if row.id == node), "not known")
    touched = [row for row in view.partitions if node in row.replicas]
    if not touched:
        return (f"Broker {node} is {state} and holds nothing. It is listed no longer.",)
    return (f"Broker {node} is {state} and holds {len(touched)} replicas: {_some(touched)}",)


def _some(rows: Sequence[Any], most: int = 4) -> str:
    names = ", ".join(f"{row.topic}-{row.partition}" for row in rows[:most])
    return names + (" ..." if len(rows) > most else "")


def _broker(verb: str, key: str, title: str) -> Action:
    return Action(
        name=f"{verb}-broker",
        key=key,
        title=title,
        kinds=frozenset({"broker"}),
        words=lambda subject, _: ["broker", verb, _name(subject)],
        preview=_start_preview if verb == "start" else _broker_preview,
        deploys=True,
        yes=False,
    )


def _delete_preview(view: "ClusterView", subject: Subject | None) -> Sequence[str]:
    row = view.topic_row(_name(subject))
    held = "" if row is None else f" of {row.partitions} partitions x {row.replication_factor}"
    return (f"Deletes all records{held}. This cannot be undone.",)


_SETTINGS = Field("settings", "Settings", hint="retention.ms=7d cleanup.policy=compact")

ACTIONS: list[Action] = [
    Action(
        name="create-topic",
        about_subject=False,
        key="C",
        title="Create topic",
        kinds=frozenset({"topic", "cluster"}),
        fields=lambda _: (
            Field("name", "Name", required=True),
            Field("partitions", "Partitions", hint="the cluster's default"),
            Field("replication", "Replicas of each", hint="the cluster's default"),
            _SETTINGS,
        ),
        words=_create,
    ),
    Action(
        name="alter-topic",
        key="A",
        title="Alter topic",
        kinds=frozenset({"topic"}),
        fields=lambda _: (
            Field("partitions", "Partitions from now on", hint="unchanged; can only grow"),
            _SETTINGS,
            Field("unset", "Settings back to default", hint="retention.ms"),
        ),
        words=_alter,
    ),
    Action(
        name="set",
        key="A",
        title="Set",
        kinds=frozenset({"setting"}),
        fields=_set_fields,
        words=_set,
        yes=False,
    ),
    Action(
        name="unset",
        key="D",
        title="Back to default",
        kinds=frozenset({"setting"}),
        words=_unset,
        yes=False,
    ),
    Action(
        name="delete-topic",
        key="D",
        title="Delete topic",
        kinds=frozenset({"topic"}),
        preview=_delete_preview,
        words=lambda subject, _: command("topic delete", _name(subject)),
        typed=True,
    ),
    Action(
        name="elect",
        key="E",
        title="Elect preferred",
        kinds=TOPIC_LIKE,
        words=lambda subject, _: command("partition elect", _target(subject)),
    ),
    Action(
        name="elect-all",
        key="E",
        title="Elect all preferred",
        kinds=frozenset({"cluster"}),
        words=lambda _, __: ["partition", "elect"],
    ),
    Action(
        name="elect-unclean",
        key="U",
        title="Elect unclean",
        kinds=TOPIC_LIKE,
        words=lambda subject, _: command("partition elect", _target(subject), "--unclean"),
        preview=_unclean_preview,
        typed=True,
    ),
    Action(
        name="move",
        key="M",
        title="Move replicas",
        kinds=TOPIC_LIKE,
        fields=_move_fields,
        words=_move,
    ),
    Action(
        name="cancel-move",
        key="K",
        title="Cancel moves",
        kinds=TOPIC_LIKE,
        words=lambda subject, _: command("partition move --cancel", _target(subject)),
    ),
    Action(
        name="produce",
        key="W",
        title="Produce",
        kinds=TOPIC_LIKE,
        fields=lambda _: (
            Field("value", "Value", required=True),
            Field("key", "Key", hint="none"),
            Field("headers", "Headers", hint="source=me trace=1"),
        ),
        words=_produce,
        preview=_produce_preview,
        yes=False,
    ),
    Action(
        name="reset-offsets",
        key="O",
        title="Reset offsets",
        kinds=frozenset({"group"}),
        fields=lambda _: (
            Field(
                "to",
                "To",
                "earliest",
                "earliest, latest, 1500, +50, -100, @-1h, file:before.json",
                required=True,
            ),
            Field("topics", "Only these topics or partitions", hint="all; orders payments:3"),
            Field(
                "saved",
                "First save what is committed in",
                hint="no file; before.json, to go back by file:before.json",
            ),
        ),
        words=_reset,
    ),
    Action(
        name="delete-group",
        key="D",
        title="Delete group",
        kinds=frozenset({"group"}),
        words=lambda subject, _: command("group delete", _name(subject)),
        typed=True,
    ),
    Action(
        name="forget-offsets",
        key="F",
        title="Forget offsets",
        kinds=frozenset({"group"}),
        fields=lambda _: (
            Field(
                "topics", "Of these topics or partitions", hint="orders payments:3", required=True
            ),
        ),
        words=_forget,
    ),
    _broker("stop", "X", "Stop broker"),
    _broker("start", "B", "Start broker"),
    _broker("restart", "R", "Restart broker"),
    Action(
        name="unregister-broker",
        key="F",
        title="Forget broker",
        kinds=frozenset({"broker"}),
        words=lambda subject, _: ["broker", "unregister", _name(subject)],
        preview=_unregister_preview,
    ),
    Action(
        name="throttle",
        about_subject=False,
        key="L",
        title="Throttle moves",
        kinds=TOPIC_LIKE | {"cluster"},
        fields=lambda _: (
            Field("rate", "Bytes per second of each broker", hint="10MiB, or off", required=True),
        ),
        words=lambda _, values: command("partition throttle", values["rate"]),
        yes=False,
    ),
]
