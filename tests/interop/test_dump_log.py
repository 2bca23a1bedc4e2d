"""Apache Kafka's own dump tool reads what the storage writes: plain logs and compacted ones."""

import re
from pathlib import Path

from broker.protocol.batch import Compression, Record, encode_batch
from broker.storage.compaction import Round, plan_round, run_round
from broker.storage.disk import RealDisk
from broker.storage.log import Log, LogConfig
from tests.interop.console_tools import tool

NOW = 1_700_000_000_000


def dump(folder: Path, *options: str) -> str:
    suffixes = (".log", ".index", ".timeindex", ".snapshot")
    files = sorted(str(p) for p in folder.iterdir() if p.suffix in suffixes)
    return tool("kafka-dump-log", "--deep-iteration", *options, "--files", ",".join(files))


def written(folder: Path) -> Log:
    """Several segments, every compression, an idempotent producer, tombstones, three epochs."""
    config = LogConfig(
        compact=True,
        segment_bytes=6000,
        index_interval_bytes=400,
        min_cleanable_dirty_ratio=0.0,
        delete_retention_ms=1000,
    )
    log = Log.open(RealDisk(), str(folder), config, name="t-0")
    sequence = 0
    for number in range(150):
        records = [
            Record(
                i,
                NOW + number * 10 + i,
                b"k%d" % ((number * 3 + i) % 40),
                None if (number + i) % 7 == 0 else b"v%d" % number * 5,
                (("h", b"1"),),
            )
            for i in range(4)
        ]
        fields = {}
        if number % 3 == 0:
            fields = {"producer_id": 9, "producer_epoch": 1, "base_sequence": sequence}
            sequence += 4
        codec = list(Compression)[number % 5]
        batch = encode_batch(records, compression=codec, **fields)
        log.append_as_leader(batch, 1 + number // 50, NOW)
    log.roll()
    log.flush()
    return log


def check(text: str) -> list[tuple[int, str]]:
    """Nothing may be wrong; gives offset and line of each record."""
    assert "isvalid: false" not in text
    assert "ismatch" not in text, "an index does not fit its log"
    assert "out of order" not in text.lower()
    assert re.search(r"producerId: 9 .* lastSequence: 199", text), "the producer snapshot"
    return [(int(line[1]), line[2]) for line in re.finditer(r"^\| offset: (\d+) (.*)$", text, re.M)]


def test_a_log_as_it_was_written(java_client: None, tmp_path: Path) -> None:
    log = written(tmp_path / "t-0")
    log.close()
    found = check(dump(tmp_path / "t-0", "--print-data-log"))
    assert [offset for offset, _ in found] == list(range(600))


def test_a_log_after_compaction(java_client: None, tmp_path: Path) -> None:
    log = written(tmp_path / "t-0")
    plan = plan_round(log, -1, log.end_offset, NOW + 5000)
    assert plan is not None
    round_ = Round(
        RealDisk(), log, plan, now_ms=NOW + 5000, memory_bytes=1 << 20, read_bytes=1 << 16
    )
    assert run_round(round_).complete
    log.close()
    text = dump(tmp_path / "t-0", "--print-data-log")
    found = check(text)
    assert len(found) == 40
    assert found[-1][0] == 599
    assert found[-1][1].endswith("payload: " + "v149" * 5)
    assert any("valueSize: -1" in line for _, line in found), "tombstones"
    assert "deleteHorizonMs: OptionalLong[1700000006000]" in text
    assert re.search(r"lastOffset: \d+ count: 0 ", text), "headers that only keep the offsets"
