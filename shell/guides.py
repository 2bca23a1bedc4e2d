"""What is the same for every command, told in a page each: `logctl help exit-codes` and the others.

Plain text for terminals of 80 columns. Must never say of a command what the registry does not have,
nor of a variable or a folder what the code does not read: tests compare both.
"""

from __future__ import annotations

from dataclasses import dataclass

from shell.exits import ExitCode

EXIT_CODES: dict[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "failed, or the cluster could not be reached within `--timeout`",
    ExitCode.USAGE: "wrong usage; the nearest valid word is named",
    ExitCode.DIFFERENCES: "differences were found, or a condition does not hold",
    ExitCode.REFUSED: "refused: read-only, not confirmed, a guard, or another cluster than the "
    "context's",
    ExitCode.UNHEALTHY: "asked fine, but the cluster is unhealthy, or a part of it did not answer",
}


@dataclass(frozen=True, slots=True)
class Guide:
    """One page: its name on the command line, what it is about, and the text."""

    name: str
    summary: str
    text: str


def _wrapped_codes() -> str:
    import textwrap

    lines = []
    for code, text in EXIT_CODES.items():
        lines += textwrap.wrap(
            text.replace("`", ""), 76, initial_indent=f"  {code:>2}  ", subsequent_indent=" " * 6
        )
    return "\n".join(lines)


_START = """\
A cluster of three brokers on this machine, and the first records:

  logctl cluster up local
  logctl topic create orders --partitions 6 --replication 3
  logctl produce orders hello
  logctl tail orders --from start --until end
  logctl dash

It is the current context from then on. Brokers that run already, Apache
Kafka's or logd's, are saved under a name and chosen by it:

  logctl context add staging kafka-1:9092,kafka-2:9092
  logctl context use staging
  logctl cluster status

On hosts of your own, over SSH:

  logctl cluster init ops@10.0.0.11 ops@10.0.0.12 ops@10.0.0.13 -o prod.yaml
  logctl cluster check prod.yaml
  logctl cluster up prod.yaml

To look and to try before anything changes: --dry-run of most commands,
--read-only for all of them. logctl alone is a prompt with completion.
In the end (data is asked about):

  logctl cluster down
  logctl cluster destroy
"""

_SCRIPTS = f"""\
Exit codes:

{_wrapped_codes()}

stdout is data, stderr is talk. --format json and yaml write one document;
tail and watch write one JSON object a line. Fields are added, never renamed.
What nobody could tell is null, is named on stderr, and makes the exit code
10. Times end in _ms and count from 1970, sizes in _bytes, rates in _per_s.

Without a terminal nobody is asked: a question is a refusal (4) that names the
option which answers it, --yes as a rule. A line for a monitor:

  logctl query --assert 'no partitions where offline or under_min_isr'
"""

_ENVIRONMENT = """\
The command line comes first, then these, then the context:

  LOGCTL_CONTEXT         as --context
  LOGCTL_BOOTSTRAP       as --bootstrap
  LOGCTL_FORMAT          as --format: table, json or yaml
  LOGCTL_TIMEOUT         as --timeout
  LOGCTL_READ_ONLY       1: as --read-only
  LOGCTL_YES             1: as --yes
  LOGCTL_NO_COLOR        1: as --no-color; so does NO_COLOR
  LOGCTL_DEBUG           1: as --debug
  LOGCTL_PAGER           the prompt's pager for long tables; else PAGER
  LOGCTL_SUDO_PASSWORD   for sudo on hosts, instead of a question
  LOGCTL_SSH_PASSPHRASE  for the key of SSH, instead of a question

A bootstrap on the command line outranks a context from the environment.
XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_STATE_HOME and XDG_CACHE_HOME move what
`logctl help files` lists.
"""

_FILES = """\
On this machine; each has logctl alone in it:

  ~/.config/logctl/config.yaml        contexts, aliases, choices for prompt
                                      and dashboard
  ~/.local/share/logctl/clusters/     data of brokers on this machine
  ~/.local/state/logctl/CLUSTER/      their logs and process ids; what was
                                      done to a cluster (audit.jsonl)
  ~/.local/state/logctl/history       what was typed at the prompt
  ~/.local/state/logctl/logctl.log    log of logctl itself: look here after
                                      an internal error
  ~/.local/state/logctl/runs/         a record of each run of a runbook
  ~/.local/state/logctl/names/        names that Tab knows
  ~/.local/state/logctl/dashboard-commands.jsonl
                                      what was done from the dashboard
  ~/.cache/logctl/                    bundles for hosts; may be deleted

Data goes with `logctl cluster destroy`, which removes what carries its marker
and nothing else. On hosts the cluster file names the folders (`paths`).
"""

_POSITIONS = """\
Where tail begins (--from) and stops (--until):

  start, end            the oldest record; what comes from now on
  42                    this offset
  -5                    the last five of each partition
  @-10m                 ten minutes ago
  @2026-01-31T12:00     a time, of the local zone unless it names one (Z)
  +100                  --until: so many of each partition

group reset and topic trim take offsets and times likewise; their help says
what else.

Durations are 500ms, 10s, 5m, 2h, 7d; a bare number is seconds. Settings by
Kafka's names take units too: retention.ms=7d, segment.bytes=64MiB. A bare
number there is what Kafka takes it for.

Topics and partitions are orders, orders:3, orders:0,4-7 and, where several
are taken, 'orders-*' in quotes.
"""

_CONDITIONS = """\
One language for query, wait, watch --where, lists (--where), runbooks and the
dashboard's filter:

  partitions where isr < min_isr and leader = 3
  groups where lag > 1000 for 10m
  no partitions where under_replicated or offline
  all brokers have state = up
  count(partitions where leader = none) = 0
  sum(lag of groups where group = billing) < 100

  = != < <= > >=        numbers, sizes (64MiB), durations (10m), times
  in [1, 2]  contains   members of a set, or a part of a text
  ~ !~                  a regular expression in quotes: topic ~ "^orders"
  and or not ( )        not binds tightest, then and, then or
  for 10m               at the end: it has held all that time

What did not answer decides nothing: the answer is then unknown, exit code 10.
All tables and their fields: logctl query --fields
"""

GUIDES: dict[str, Guide] = {
    guide.name: guide
    for guide in (
        Guide("start", "The first minutes: a cluster, records, the dashboard.", _START),
        Guide("scripts", "Exit codes, JSON, and what is asked without a terminal.", _SCRIPTS),
        Guide("environment", "Variables, and what outranks what.", _ENVIRONMENT),
        Guide("files", "Where contexts, data, logs and histories are kept.", _FILES),
        Guide("positions", "Offsets, times, durations, sizes and topics, as typed.", _POSITIONS),
        Guide("conditions", "The language of query, wait, watch and filters.", _CONDITIONS),
    )
}

# What one types who looks for one of them.
SYNONYMS = {"exit-codes": "scripts", "exit": "scripts", "json": "scripts"}


def guide_of(word: str) -> Guide | None:
    """The page of that name, or of another word for it; None when there is none."""
    return GUIDES.get(word) or GUIDES.get(SYNONYMS.get(word, ""))
