"""Writes docs/compatibility.md: which clients and tools were seen working with logd, and its APIs.

`python docs/compatibility.py --record` runs the tests named here and keeps their outcomes in
docs/compatibility.json; without an option the page is written from what is kept, from the
catalogue of served APIs and from skipped.md; `--check` fails when the page is out of date, when a
test that it rests on is gone, or when its last recorded outcome is not a pass. It must never hold
a row that no test proves.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from broker.api.catalogue import served_apis  # noqa: E402

TARGET = ROOT / "docs" / "compatibility.md"
RECORD = ROOT / "docs" / "compatibility.json"
KAFKA_APIS = ROOT / "docs" / "apache_kafka_apis.json"
SKIPPED = ROOT / "broker" / "api" / "skipped.md"
INTEROP = "tests/interop"
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")

# How the page names a client: its own name, the language, and where it is from.
CLIENTS = {
    "confluent-kafka": ("confluent-kafka (librdkafka)", "Python, C"),
    "aiokafka": ("aiokafka", "Python"),
    "kafka-python": ("kafka-python", "Python"),
    "kafkajs": ("kafkajs", "JavaScript"),
    "java": ("Apache Kafka's Java client", "Java"),
    "franz-go": ("franz-go, kadm", "Go"),
    "kcat": ("kcat (librdkafka)", "C"),
}
MEMBERS = {
    "confluent-kafka": ("ConfluentRange", "ConfluentCooperative"),
    "aiokafka": ("Aio",),
    "kafka-python": ("KafkaPython",),
    "kafkajs": ("KafkaJs",),
    "java": ("JavaRange", "JavaCooperative"),
    "franz-go": ("FranzGo", "FranzGoRange"),
    "kcat": ("Kcat",),
}
LIMITS = (
    "test_offsets_by_time",
    "test_offsets_of_an_empty_partition",
    "test_a_message_that_is_too_large",
    "test_a_topic_is_made_by_writing_to_it",
    "test_log_append_time",
    "test_names_that_no_topic_may_have",
    "test_a_topic_that_exists_and_settings_that_do_not",
)


def administration(client: str) -> list[str]:
    """Topics, settings, partitions, records, groups and the cluster."""
    if client == "kcat":
        return []
    names = (
        "test_a_cluster_is_described",
        "test_a_topic_is_made_described_changed_and_deleted",
        "test_a_group_is_listed_described_and_deleted",
    )
    return [f"test_administration.py::{name}[{client}]" for name in names]


def compression(client: str) -> list[str]:
    """What it writes with each codec, every client reads back byte for byte."""
    if client == "kcat":
        return [f"test_kcat.py::test_produce_and_consume[{codec}]" for codec in CODECS]
    test = "test_client_matrix.py::test_every_client_reads_what_one_wrote"
    return [f"{test}[{client}-{codec}]" for codec in CODECS]


def limits(client: str) -> list[str]:
    """Offsets by time, sizes, names and the errors that a user sees."""
    if client == "kcat":
        return ["test_kcat.py::test_a_file_comes_back_byte_for_byte"]
    return [f"test_client_limits.py::{name}[{client}]" for name in LIMITS]


def groups(client: str) -> list[str]:
    """Members share partitions as they come and go."""
    test = "test_consumer_groups.py::test_members_share_the_partitions_as_they_come_and_go"
    return [f"{test}[{member}]" for member in MEMBERS[client]]


def kills(client: str) -> list[str]:
    """Leaders are killed while it writes with acks=all."""
    test = "test_broker_killed.py::test_nothing_acknowledged_is_lost_when_leaders_are_killed"
    return [f"{test}[{client}]"]


FEATURES = {
    "administration": administration,
    "every compression": compression,
    "offsets, sizes, errors": limits,
    "group members come and go": groups,
    "leaders killed under load": kills,
}

_TOOLS = "test_console_tools.py::test_"
TOOLS = {
    "kafka-topics": (
        f"{_TOOLS}kafka_topics",
        f"{_TOOLS}kafka_topics_while_a_broker_is_down",
    ),
    "kafka-configs": (f"{_TOOLS}kafka_configs",),
    "kafka-console-producer, kafka-console-consumer": (
        f"{_TOOLS}kafka_console_producer_and_consumer",
    ),
    "kafka-producer-perf-test, kafka-consumer-perf-test": (f"{_TOOLS}kafka_perf_tests",),
    "kafka-consumer-groups": (
        "test_consumer_groups.py::test_kafkas_own_tool_reads_and_changes_groups",
    ),
    "kafka-groups": (f"{_TOOLS}kafka_console_producer_and_consumer",),
    "kafka-get-offsets": (f"{_TOOLS}kafka_get_offsets",),
    "kafka-delete-records": (f"{_TOOLS}kafka_delete_records",),
    "kafka-log-dirs": (f"{_TOOLS}kafka_log_dirs",),
    "kafka-metadata-quorum": (f"{_TOOLS}kafka_metadata_quorum",),
    "kafka-leader-election": (f"{_TOOLS}kafka_leader_election",),
    "kafka-reassign-partitions": (f"{_TOOLS}kafka_reassign_partitions",),
    "kafka-broker-api-versions": (f"{_TOOLS}kafka_broker_api_versions",),
    "kafka-cluster, kafka-features": (f"{_TOOLS}kafka_cluster",),
    "kafka-transactions describe-producers": (f"{_TOOLS}kafka_transactions_describes_producers",),
    "kafka-dump-log": (
        "test_dump_log.py::test_a_log_as_it_was_written",
        "test_dump_log.py::test_a_log_after_compaction",
        "test_consumer_groups.py::test_kafkas_dump_tool_decodes_what_is_stored",
        f"{_TOOLS}kafka_dump_log_reads_the_metadata_log",
    ),
}


PAGE = """# Compatibility

Written by `python docs/compatibility.py` from the outcomes of tests that `--record` runs. Every
cell says how many tests stand behind it; they are in `tests/interop` and play on three broker
processes. `make check` fails when this page and the tests disagree.

## Clients

{clients}

{features}

What one client writes all others read, with every codec and acks mode, headers, empty and absent
keys and values. kcat writes and reads for itself, and administers nothing; aiokafka can't delete
groups; kafkajs can't send a header without a value.

## Apache Kafka's console tools ({version})

| tool | tests passed |
|---|---|
{tools}

`kafka-reassign-partitions --throttle` is refused: there are no replication quotas yet.

## APIs

Versions of each API that logd serves, beside those of Apache Kafka {version}.

{apis}

## Put off

ApiVersions says nothing of these; [skipped.md](../broker/api/skipped.md) lists them one by one.

{put_off}
"""


def needed() -> list[str]:
    """Every test that the page rests on, once, by its id."""
    tests = [test for of in FEATURES.values() for client in CLIENTS for test in of(client)]
    tests += [test for each in TOOLS.values() for test in each]
    return [f"{INTEROP}/{test}" for test in dict.fromkeys(tests)]


# -- recording


def record() -> None:
    """Run the tests and keep their outcomes and the versions of the clients."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-o"]
        command += ["junit_family=xunit1", f"--junitxml={report}", *needed()]
        subprocess.run(command, cwd=ROOT, check=False)
        outcomes = dict(_outcomes(report))
    kept = {
        "clients": _versions(),
        "tests": {test: outcomes.get(test, "not run") for test in needed()},
    }
    RECORD.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def _outcomes(report: Path) -> Iterable[tuple[str, str]]:
    for case in ET.parse(report).iter("testcase"):  # noqa: S314
        test = f"{case.get('file')}::{case.get('name')}"
        bad = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        yield test, bad[0] if bad else "passed"


def _versions() -> dict[str, str]:
    from tests.interop import drivers
    from tests.interop.roster import CLIENTS as KNOWN

    versions = {}
    for client in KNOWN:
        if client.missing() is None:
            versions[client.name] = client.version()
    drivers.close_all()
    if kcat := shutil.which("kcat"):
        said = subprocess.run([kcat, "-V"], check=False, capture_output=True, text=True).stdout
        versions["kcat"] = re.findall(r"Version (\S+)", said)[0]
    return versions


def kafka_apis_of(libs: Path) -> dict[str, Any]:
    """Every API of Apache Kafka from the message definitions in its jar, with their versions."""
    (jar,) = libs.glob("kafka-clients-*.jar")
    apis = {}
    with zipfile.ZipFile(jar) as archive:
        for name in archive.namelist():
            if not re.fullmatch(r"common/message/\w+Request\.json", name):
                continue
            text = archive.read(name).decode()
            told = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M))
            if told["validVersions"] != "none":
                apis[told["apiKey"]] = {
                    "name": told["name"].removesuffix("Request"),
                    "versions": told["validVersions"],
                    "listeners": told.get("listeners", []),
                    "unstable": bool(told.get("latestVersionUnstable", False)),
                }
    version = re.findall(r"kafka-clients-(.*)\.jar", jar.name)[0]
    return {"version": version, "apis": {str(key): apis[key] for key in sorted(apis)}}


# -- writing


def render() -> str:
    """The whole page."""
    kept = json.loads(RECORD.read_text(encoding="utf-8"))
    kafka = json.loads(KAFKA_APIS.read_text(encoding="utf-8"))
    others = [f"- **{feature}**: {of.__doc__}" for feature, of in FEATURES.items()]
    return PAGE.format(
        version=kafka["version"],
        clients="\n".join(_clients(kept)),
        features="\n".join(others),
        tools="\n".join(f"| {tool} | {len(tests)} |" for tool, tests in TOOLS.items()),
        apis="\n".join(_apis(kafka)),
        put_off="\n".join(_put_off()),
    )


def _clients(kept: dict[str, Any]) -> list[str]:
    lines = [
        f"| client | version | language | {' | '.join(FEATURES)} |",
        "|---" * (3 + len(FEATURES)) + "|",
    ]
    for client, (title, language) in CLIENTS.items():
        cells = []
        for of in FEATURES.values():
            tests = of(client)
            passed = sum(kept["tests"][f"{INTEROP}/{test}"] == "passed" for test in tests)
            cells.append(f"{passed} of {len(tests)} passed" if tests else "-")
        row = [title, kept["clients"][client], language, *cells]
        lines.append(f"| {' | '.join(row)} |")
    return lines


def _apis(kafka: dict[str, Any]) -> list[str]:
    served = served_apis().apis
    lines = ["| key | API | logd | Apache Kafka | listeners |", "|---|---|---|---|---|"]
    for key, api in sorted(served.items()):
        theirs = kafka["apis"][str(key)]
        versions = theirs["versions"] + (" (the last unstable)" if theirs["unstable"] else "")
        ours = f"{api.min_version}-{api.max_version}"
        if api.min_version == api.max_version:
            ours = str(api.max_version)
        listeners = ", ".join(sorted(api.listeners))
        lines.append(f"| {key} | {theirs['name']} | {ours} | {versions} | {listeners} |")
    return lines


def _put_off() -> list[str]:
    """The APIs of skipped.md by what is missing for them."""
    reasons: dict[str, list[str]] = {}
    for line in SKIPPED.read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"\| (\d+) \| (\w+) \| (.+) \|", line):
            reasons.setdefault(found[3], []).append(found[2])
    return [f"- {reason}: {', '.join(names)}" for reason, names in reasons.items()]


# -- checking


def disagreements() -> list[str]:
    """Where the committed page, what was recorded and what is needed differ; empty: nowhere."""
    found = []
    kept = json.loads(RECORD.read_text(encoding="utf-8"))["tests"]
    found += [f"not recorded: {test}" for test in needed() if test not in kept]
    found += [f"recorded, but not needed: {test}" for test in kept if test not in needed()]
    found += [f"{outcome}: {test}" for test, outcome in kept.items() if outcome != "passed"]
    if not found and (not TARGET.exists() or TARGET.read_text(encoding="utf-8") != render()):
        found.append("docs/compatibility.md is out of date; run `python docs/compatibility.py`")
    return found


def missing_tests() -> list[str]:
    """Tests that the page rests on and that pytest does not find."""
    files = sorted({test.split("::")[0] for test in needed()})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:xdist", *files]
    said = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True).stdout
    there = set(said.splitlines())
    return [f"there is no such test: {test}" for test in needed() if test not in there]


def main() -> int:
    """Record, write or check."""
    if "--check" in sys.argv:
        found = disagreements() + missing_tests()
        for problem in found:
            sys.stderr.write(problem + "\n")
        return 1 if found else 0
    if "--record" in sys.argv:
        from benchmarks.peers import kafka_libs

        libs = kafka_libs()
        if libs is None:
            sys.stderr.write("Apache Kafka's jars can't be had: Java or Maven is absent\n")
            return 1
        told = kafka_apis_of(libs)
        KAFKA_APIS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        record()
    TARGET.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
