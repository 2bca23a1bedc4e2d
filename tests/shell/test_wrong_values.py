"""What nobody could have meant: it is refused in words, before a cluster is asked, as usage."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from broker.protocol.api_keys import ApiKey
from broker.protocol.struct import Struct
from clusters.admin.connections import Connections
from clusters.admin.errors import AdminError
from shell.exits import UsageProblem
from shell.inputs import BadRecord, _time
from shell.output import Output
from shell.reading import _tell_moved_starts
from shell.values import INT64_MAX, parse_position


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("topic create x -p 2147483648", "2147483648 is not in the range 1<=x<=2147483647"),
        ("topic list --timeout 0s", "The time limit (--timeout) is more than nothing"),
        ("partition list --leader -1", "'-1' is not a whole number from 0 on"),
        ("partition list --broker 99999999999", "99999999999 is more than 2147483647"),
        (f"partition list --broker {'9' * 5000}", "is more than 2147483647"),
        ("produce x a --timestamp 99999999999999999999", "is too large: offsets and times"),
        ("tail x --from 99999999999999999999", "is too large: offsets and times go up to"),
        (f"tail x --from -{'9' * 5000}", "is too large: offsets and times go up to"),
        ("tail x --from @0001-01-01", "'@0001-01-01' is not a time"),
        ("tail x --where a>", "'a>' compares with nothing; write a value after >"),
        ("topic create x --config a.b=1 --config a.b=2", "--config a.b is given twice"),
        ("group list --state stabel", "There is no state 'stabel' of a group; there are Stable,"),
        ("group list --state stabel", "Did you mean 'Stable'?"),
        ("group describe g --rate --sample 0s", "--sample is at least 100 ms"),
    ],
)
def test_wrong_values_are_named(logctl, line, said) -> None:
    told = logctl(*line.split())
    assert (told.code, told.out) == (2, "")
    assert said in told.err
    assert logctl.doors.fake.calls == []


@pytest.mark.parametrize(
    "words",
    [
        ("topic", "describe", ""),
        ("topic", "delete", "", "--yes"),
        ("group", "describe", ""),
        ("tail", "orders", "--group", ""),
        ("partition", "list", ""),
    ],
)
def test_a_name_is_never_empty(logctl, words) -> None:
    told = logctl(*words)
    assert told.code == 2
    assert "is not empty" in told.err


@pytest.mark.parametrize(
    "line", ["cluster down --yes", "cluster destroy --yes", "broker kill 1 --yes", "broker stop 1"]
)
def test_addresses_do_not_stand_for_the_bundled_cluster(logctl, line) -> None:
    told = logctl("--bootstrap", "10.0.0.9:9092", *line.split())
    assert told.code == 2
    assert "No cluster file says how 10.0.0.9:9092 is run." in told.err
    assert not logctl.doors.destroyed


@pytest.mark.parametrize("name", ["", " ", "a\nb"])
def test_a_context_has_a_name_that_can_be_read(logctl, name) -> None:
    told = logctl("context", "add", name, "127.0.0.1:9092")
    assert told.code == 2
    assert "A context's name is words that can be printed" in told.err
    assert list(logctl.doors.saved) == ["local"]


def test_what_the_system_says_of_a_file_comes_without_its_number(logctl, tmp_path) -> None:
    told = logctl("produce", "orders", "--dry-run", "--file", str(tmp_path))
    assert (told.code, told.err) == (1, f"error: {tmp_path}: Is a directory\n")
    told = logctl("produce", "orders", "--dry-run", "--file", str(tmp_path / "none"))
    assert told.err == f"error: {tmp_path / 'none'}: No such file or directory\n"


@given(st.text(st.sampled_from("0129-+:@.TZeE٣²_ "), max_size=30))
def test_any_text_is_a_position_or_refused(text) -> None:
    for each in (text, f"@{text}"):
        try:
            assert abs(parse_position(each, 10**12).value) <= INT64_MAX
        except UsageProblem:
            continue


def test_a_time_of_a_record_fits_its_field() -> None:
    assert _time(INT64_MAX, "line 1") == INT64_MAX
    with pytest.raises(BadRecord, match="line 1: '9223372036854775808' is not a time"):
        _time(INT64_MAX + 1, "line 1")


async def test_what_cannot_be_written_down_is_no_fault_of_the_brokers() -> None:
    class Asked(Connections):
        """A broker that could be reached."""

        async def request_at(self, address, api_key, body, *, timeout_ms, max_version=None):
            from broker.protocol.codec import encode_request

            return encode_request(api_key, 7, body)

    topic = Struct(name="x", num_partitions=2**31, replication_factor=1, assignments=[], configs=[])
    body = Struct(topics=[topic], timeout_ms=1, validate_only=False)
    with pytest.raises(AdminError, match=r"cannot be asked of a broker: .*num_partitions") as told:
        await Asked(["127.0.0.1:1"]).request_any(
            ApiKey.CREATE_TOPICS, body, deadline=SimpleNamespace(left_ms=lambda: 1_000)
        )
    assert "not reachable" not in str(told.value)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("5", ""),
        ("10", ""),
        ("11", "warning: offset 11 is not yet there; what is written ends: t-1 at 10.\n"),
        ("0", "warning: offset 0 is no longer there; what is kept begins: t-1 at 5.\n"),
        ("-99", ""),
        ("start", ""),
    ],
)
def test_a_start_that_is_not_there_is_told(start, said) -> None:
    err = io.StringIO()
    reader = SimpleNamespace(
        wanted=SimpleNamespace(start=parse_position(start, 0)),
        session=SimpleNamespace(output=Output(stdout=io.BytesIO(), stderr=err)),
    )
    home = TopicPartition
    _tell_moved_starts(reader, {home("t", 0): (0, 2**40), home("t", 1): (5, 10)})
    assert err.getvalue() == said


def test_each_of_several_groups_is_told_deleted_or_not(logctl) -> None:
    async def delete_groups(names):
        (name,) = names
        if name == "busy":
            raise AdminError('The group "busy" was not deleted: it has members')
        logctl.doors.fake.calls.append(name)

    logctl.doors.fake.delete_groups = delete_groups
    told = logctl("group", "delete", "one", "busy", "two", "one", "--yes")
    assert told.code == 1
    assert told.err == (
        "Deleted group one.\n"
        'error: The group "busy" was not deleted: it has members\n'
        "Deleted group two.\n"
    )
    assert logctl.doors.fake.calls == ["one", "two"]
