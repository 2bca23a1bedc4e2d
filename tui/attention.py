"""What needs attention first: what is wrong, how bad it is, and what to do about it.

Reads the store and asks nobody. Costs nothing to speak of while nothing changes: partitions are
only looked at in topics that are not whole. Must never name a fault that the numbers do not show.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from clusters.admin.denied import way_in_words, without_way
from clusters.polls.standing import UNKNOWN, Standing
from clusters.watch.events import EventKind
from tui.drawing import age, seconds, size
from tui.model import DOWN, BrokerRow, Health, PartitionRow
from tui.pages.base import Place
from tui.quorum import is_silent
from tui.store import ENDS, LOG_DIRS, QUORUM, Disk, Store

DISK_FULL = 0.85
VOTER_BEHIND = 200
NAMES_MAX = 3
LAPSES_MS = 600_000
LAPSES_MANY = 3
BACK = (EventKind.BROKER_UNFENCED, EventKind.BROKER_JOINED)


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong. `tone` is error or warning, `place` shows more of it."""

    sign: str
    tone: str
    words: str
    todo: str
    place: Place


def troubles(
    store: Store, wall_ms: int, *, now_ms: int = 0, deploys: bool = False, acts: bool = False
) -> list[Trouble]:
    """All that is wrong, the worst first; `deploys`: brokers can be started from here, `acts`:
    the cluster can be changed at all.

    `wall_ms` is since 1970, `now_ms` of the monotonic clock that answers are stamped with.
    """
    found = [
        *_offline(store, deploys),
        *_down(store, wall_ms, deploys, acts),
        *_out_of_room(store),
        *_unsteady(store, wall_ms),
        *_not_heard(store, now_ms),
        *_quorum(store),
        *_denied(store),
        *_unanswered(store, now_ms),
        *_short_of_replicas(store),
        *_disks(store),
        *_moving(store),
        *_throttled(store, acts),
        *_not_preferred(store, acts),
    ]
    return sorted(found, key=lambda each: each.tone != "error")


def _rows(store: Store, counts: str) -> list[PartitionRow]:
    """Partitions of the topics for which a count of TopicRow is not zero."""
    view = store.view
    hurt = [row.name for row in view.topics if getattr(row, counts)]
    return [row for name in hurt for row in view.rows_of(name)]


def _names(rows: Sequence[PartitionRow]) -> str:
    # A topic of people's before the cluster's own.
    rows = sorted(rows, key=lambda row: row.topic.startswith("__"))
    names = ", ".join(row.name for row in rows[:NAMES_MAX])
    return names + (" …" if len(rows) > NAMES_MAX else "")


def _some(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _offline(store: Store, deploys: bool) -> Iterator[Trouble]:
    rows = [row for row in _rows(store, "offline") if row.health is Health.OFFLINE]
    if not rows:
        return
    up = {broker.id for broker in store.view.brokers if broker.state == "up"}
    needed = sorted({each for row in rows for each in row.isr if each not in up})
    todo = f"start broker {', '.join(map(str, needed))}" if needed else ""
    if deploys and len(needed) == 1:
        todo = f":start-broker {needed[0]}"
    yield Trouble(
        "✖",
        "error",
        f"{_some(len(rows), 'partition')} offline: {_names(rows)}",
        todo,
        Place("partitions", "offline"),
    )


def _down(store: Store, wall_ms: int, deploys: bool, acts: bool) -> Iterator[Trouble]:
    for broker in store.view.brokers:
        if broker.state == "up":
            continue
        since = _since(store, broker, wall_ms)
        lack = f", {_some(broker.out_of_sync, 'replica')} behind" if broker.out_of_sync else ""
        # It cannot be asked any more, and this may well be why it is down.
        if _is_full(disk := store.disks.get(broker.id)):
            lack += f"; its disk was {_full(disk)}"
        todo = ""
        if not broker.replicas and acts and broker.state == "fenced":
            # One that was taken away would be named for ever.
            todo = f":unregister-broker {broker.id} if it is gone for good"
        elif broker.state != "stopping":
            todo = f":start-broker {broker.id}" if deploys else "start it, or look at its log"
        yield Trouble(
            "◐" if broker.state == "stopping" else "✖",
            "warning" if broker.state == "stopping" else "error",
            f"broker {broker.id} {broker.state}{since}{lack}",
            todo,
            Place("broker", str(broker.id)),
        )


def heard_words(row: BrokerRow, standings: Mapping[int, Standing], now_ms: int) -> str:
    """How one answers that does not answer as it should; `now_ms` is monotonic."""
    standing = standings.get(row.id, UNKNOWN)
    if row.heard == "slow":
        return f"broker {row.id} is slow: its answers take {seconds(standing.took_ms or 0)}"
    if row.heard == "unreachable":
        return f"broker {row.id} is not reachable from here ({standing.reason}); it counts as up"
    words = "does not answer"
    if standing.since_ms is not None:
        words = f"has not answered for {seconds(now_ms - standing.since_ms)}"
    why = "" if standing.reason in ("", "no answer") else f" ({standing.reason})"
    return f"broker {row.id} {words}{why}, still counts as up"


def _not_heard(store: Store, now_ms: int) -> Iterator[Trouble]:
    """Brokers that do not answer, though the controller has not called them down."""
    standings = store.view.standings
    silent = [row for row in store.view.brokers if row.heard == "silent"]
    if len(silent) > NAMES_MAX:
        # As a rule by one reason: a rack, or the way there. A line for each would hide the rest.
        words = f"{len(silent)} brokers do not answer, still count as up: {_ids(silent)}"
        risk = _at_risk(store, {row.id for row in silent}, "they lead")
        yield Trouble("?", "error", words + risk, "", Place("brokers"))
    else:
        for row in silent:
            words = heard_words(row, standings, now_ms) + _at_risk(store, {row.id}, "it leads")
            yield Trouble("?", "error", words, "", _broker_place(row))
    kinds = (
        ("slow", "◔", "are slow to answer"),
        ("unreachable", "◌", "are not reachable from here"),
    )
    for heard, sign, how in kinds:
        rows = [row for row in store.view.brokers if row.heard == heard]
        if len(rows) == 1:
            words = heard_words(rows[0], standings, now_ms)
            yield Trouble(sign, "warning", words, "", _broker_place(rows[0]))
        elif rows:
            words = f"{len(rows)} brokers {how}: {_ids(rows)}"
            yield Trouble(sign, "warning", words, "", Place("brokers"))


def _ids(rows: Sequence[BrokerRow]) -> str:
    return ", ".join(str(row.id) for row in rows[:NAMES_MAX]) + (
        " …" if len(rows) > NAMES_MAX else ""
    )


def _broker_place(row: BrokerRow) -> Place:
    return Place("broker", str(row.id))


def _at_risk(store: Store, brokers: Collection[int], whose: str) -> str:
    """The partitions that some lead: nobody reads or writes them until others lead."""
    led = [row for row in store.view.partitions if row.leader in brokers]
    if not led:
        return ""
    silent = set(store.view.silent_brokers())
    alone = sum(all(each in silent for each in row.isr) for row in led)
    words = f"; {_some(len(led), 'partition')} {whose} at risk: {_names(led)}"
    return words + (f", {alone} with no other replica in sync" if alone else "")


def _since(store: Store, broker: BrokerRow, wall_ms: int) -> str:
    for event in reversed(store.view.events):
        if event.broker == broker.id and event.topic is None:
            if event.kind in DOWN:
                return f" for {age(wall_ms - event.at_ms)}"
            if event.kind in BACK:
                break
    return ""


def _unsteady(store: Store, wall_ms: int) -> Iterator[Trouble]:
    """Brokers that come and go: each time they are back they look well."""
    for broker in store.view.brokers:
        times = store.view.lapses.since(broker.id, wall_ms - LAPSES_MS)
        if len(times) >= LAPSES_MANY:
            last = age(wall_ms - times[-1])
            words = f"broker {broker.id} comes and goes: out of sync {len(times)} times in "
            words += f"{age(wall_ms - times[0])}, last {last} ago"
            place = Place("broker", str(broker.id))
            yield Trouble("↻", "warning", words, "look at its log, load and network", place)


def _out_of_room(store: Store) -> Iterator[Trouble]:
    """Brokers that are up and take no records; the metadata log says so before disks are asked."""
    for broker in store.view.brokers:
        if broker.state == "up" and broker.out_of_room:
            disk = store.disks.get(broker.id)
            why = f": disk {_full(disk)}" if _is_full(disk) else ", its log dir is offline"
            words = f"broker {broker.id} takes no records{why}"
            if broker.out_of_sync:
                words += f", {_some(broker.out_of_sync, 'replica')} behind"
            place = Place("broker", str(broker.id))
            yield Trouble("✖", "error", words, "make room on its disk", place)


def _is_full(disk: Disk | None) -> TypeGuard[Disk]:
    return disk is not None and disk.share >= DISK_FULL


def _full(disk: Disk) -> str:
    return f"{_percent(disk)} % full, {size(disk.free_bytes)} left"


def _percent(disk: Disk) -> int:
    return 100 - disk.free_bytes * 100 // disk.total_bytes


def _quorum(store: Store) -> Iterator[Trouble]:
    answer, place = store.answer(QUORUM), Place("quorum")
    quorum = answer.value
    if quorum is None:
        return
    if quorum.leader_id < 0:
        yield Trouble(
            "★", "error", "no controller: nothing can be changed", "start more voters", place
        )
        return
    away = []
    down = {
        broker.id
        for broker in store.view.brokers
        if broker.state not in ("up", "stopping") or broker.heard == "silent"
    }
    # The log tells of a new one at once; an answer may be from before it.
    leader = store.view.controller_id if store.view.controller_id >= 0 else quorum.leader_id
    for voter in quorum.voters:
        lag = quorum.lag(voter)
        if voter.id == leader and voter.id not in down:
            continue
        # Silent as of the answer: while nobody answers, no voter becomes silent by that.
        if is_silent(quorum, voter) or voter.id in down:
            away.append(voter.id)
        elif lag is not None and lag > VOTER_BEHIND:
            words = f"voter {voter.id} of the metadata quorum is {lag} records behind"
            yield Trouble("★", "warning", words, "", place)
    if away:
        here, needed = len(quorum.voters) - len(away), len(quorum.voters) // 2 + 1
        words = f"quorum: {here} of {len(quorum.voters)} voters answer"
        if here < needed:
            # Nobody is left who could fence the others: what else is shown will not get any newer.
            words += "; nothing can be changed"
            todo = f"start voter {' or '.join(map(str, away))}"
            yield Trouble("★", "error", words, todo, place)
            return
        if here == needed:
            words += "; one loss more and nothing can be changed"
        yield Trouble("★", "warning", words, "", place)


def _unanswered(store: Store, now_ms: int) -> Iterator[Trouble]:
    """What could not be asked: a node that hangs is noticed here before it is fenced."""
    asked = [(QUORUM, "the quorum"), (ENDS, "offsets"), (LOG_DIRS, "sizes")]
    failed = [
        (store.answer(poll), what)
        for poll, what in asked
        if store.answer(poll).problem and not without_way(store.answer(poll).problem)[1]
    ]
    if not failed or not store.is_live():
        return
    oldest = max(answer.age_ms(now_ms) or 0 for answer, _ in failed)
    since = f" for {age(oldest)}" if oldest else ""
    names = ", ".join(what for _, what in failed)
    words = f"not told{since}: {names} ({failed[0][0].problem})"
    yield Trouble("?", "warning", words, "", Place("brokers"))


def _denied(store: Store) -> Iterator[Trouble]:
    """What this client may not ask: by the rule that would allow it, with what lacks for that."""
    log_dirs = store.answer(LOG_DIRS)
    untold = [each.reason for each in getattr(log_dirs.value, "failures", ())]
    said = [
        (store.status.message if store.status.mode == "sampled" else "", "log"),
        (store.answer(QUORUM).problem, "quorum"),
        (store.answer(ENDS).problem, "offsets"),
        *((words, "sizes") for words in (log_dirs.problem, *untold)),
    ]
    lacking: dict[str, list[str]] = {}
    for words, what in said:
        way = without_way(words)[1].rstrip(" )")
        if way and what not in lacking.setdefault(way, []):
            lacking[way].append(what)
    for way, untold_of in lacking.items():
        # Short, so that the rule stands on the line as well.
        words = f"may not {way_in_words(way)}: no {', '.join(untold_of)}"
        yield Trouble("⊘", "warning", words, way, Place("quorum"))


def _short_of_replicas(store: Store) -> Iterator[Trouble]:
    health = store.view.health()
    if health.under_min_isr:
        rows = [row for row in _rows(store, "under_min_isr") if row.health is Health.UNDER_MIN_ISR]
        words = f"{_some(len(rows), 'partition')} under min ISR, acks=all refused: {_names(rows)}"
        yield Trouble("◔", "error", words, "", Place("partitions", "under-min-isr"))
    for broker in store.view.brokers:
        if broker.state != "up" or not broker.out_of_sync or broker.out_of_room:
            continue
        words = f"broker {broker.id} has {_some(broker.out_of_sync, 'replica')} behind"
        yield Trouble("◐", "warning", words, "", Place("broker", str(broker.id)))
    if health.at_min_isr:
        words = f"{_some(health.at_min_isr, 'partition')} at min ISR: one loss more stops acks=all"
        yield Trouble("◐", "warning", words, "", Place("partitions", "at-min-isr"))


def _disks(store: Store) -> Iterator[Trouble]:
    place = Place("brokers")
    told = {broker.id for broker in store.view.brokers if broker.out_of_room}
    for broker in sorted(store.broker_sizes):
        disk = store.disks.get(broker)
        if broker not in told and _is_full(disk):
            words = f"disk of broker {broker} is {_full(disk)}"
            yield Trouble("▇", "warning" if _percent(disk) < 95 else "error", words, "", place)
    for each in store.answer(LOG_DIRS).value or ():
        if each.error and each.broker not in told:
            words = f"broker {each.broker}: {each.error}: {each.path}"
            yield Trouble("✖", "error", words, "", Place("broker", str(each.broker)))


def _moving(store: Store) -> Iterator[Trouble]:
    if moving := store.view.health().moving:
        rows = [row for row in _rows(store, "moving") if row.is_moving]
        words = f"{_some(moving, 'partition')} being moved: {_names(rows)}"
        copied = [told for name in {row.topic for row in rows} if (told := store.copies.of(name))]
        if len(copied) == 1:
            words += f"; {copied[0].words}"
        yield Trouble("⇢", "warning", words, "", Place("partitions", "moving"))


def _throttled(store: Store, acts: bool) -> Iterator[Trouble]:
    """What a move has left behind keeps replicas from catching up, days later."""
    if left := store.left_throttled():
        more = " …" if len(left) > NAMES_MAX else ""
        words = f"a throttle was left behind on {', '.join(left[:NAMES_MAX])}{more}"
        todo = ":throttle off" if acts else "logctl partition throttle off"
        place = Place("topic", left[0]) if len(left) == 1 else Place("topics")
        yield Trouble("⇣", "warning", words, todo, place)


def _not_preferred(store: Store, acts: bool) -> Iterator[Trouble]:
    health = store.view.health()
    # While a broker is down, or takes no records, its leaders have to be elsewhere.
    whole = not any(row.state != "up" or row.out_of_room for row in store.view.brokers)
    if health.not_preferred > health.offline and whole:
        words = f"{_some(health.not_preferred, 'partition')} not on the preferred leader"
        todo = ":elect-all" if acts else ""
        yield Trouble("≠", "warning", words, todo, Place("partitions", "not-preferred"))
