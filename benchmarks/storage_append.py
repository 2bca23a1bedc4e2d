"""How fast one log takes and gives batches: appends a second, MB/s written, read and recovered.

    python benchmarks/storage_append.py [--folder DIR] [--seconds 1.0]

It writes to the page cache, as the broker does; a flush at the end is measured on its own.
"""

import argparse
import tempfile
import time
from collections.abc import Callable

from broker.protocol.batch import Record, encode_batch
from broker.storage.disk import RealDisk
from broker.storage.log import Log, LogConfig

SHAPES = ((100, 100), (1024, 100), (100, 1), (10240, 10))
READ_BYTES = 1 << 20
BYTES_MAX = 1 << 30


def measured(log: Log, append: Callable[[], int], seconds: float) -> tuple[int, float]:
    count = 0
    begin = time.perf_counter()
    while True:
        for _ in range(200):
            append()
        count += 200
        spent = time.perf_counter() - begin
        if spent > seconds or log.size_bytes > BYTES_MAX:
            return count, spent


def read_all(log: Log, batch_bytes: int, records: int) -> tuple[int, float]:
    offset = total = 0
    begin = time.perf_counter()
    while offset < log.end_offset:
        data = log.read(offset, READ_BYTES, upto_offset=log.end_offset)
        total += len(data)
        offset += len(data) // batch_bytes * records
    return total, time.perf_counter() - begin


def bench(folder: str, record_bytes: int, records: int, seconds: float) -> str:
    batch = encode_batch(
        [Record(i, 1_000_000 + i, None, bytes(record_bytes), ()) for i in range(records)]
    )
    disk = RealDisk()
    config = LogConfig(segment_bytes=256 << 20)
    log = Log.open(disk, f"{folder}/leader-0", config, name="leader-0")
    count, spent = measured(log, lambda: log.append_as_leader(batch, 1, 1_000_000)[1], seconds)
    megabytes = count * len(batch) / 1e6
    begin = time.perf_counter()
    log.flush()
    flush_ms = (time.perf_counter() - begin) * 1e3
    total, read_spent = read_all(log, len(batch), records)
    log.abandon()
    begin = time.perf_counter()
    Log.open(disk, log.directory, config, name="leader-0").close()  # as after kill -9
    recovered = megabytes / (time.perf_counter() - begin)
    disk.remove_tree(log.directory)
    return (
        f"{record_bytes:>7} B x {records:<4} {count / spent:>10,.0f} {1e6 * spent / count:>8.1f} us"
        f" {megabytes / spent:>9,.0f} {total / 1e6 / read_spent:>9,.0f} {recovered:>10,.0f} {flush_ms:>9.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", help="where to write (default: a temporary folder)")
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    print("      batch        appends/s      each  MB/s in  MB/s out  recovered  flush ms")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for record_bytes, records in SHAPES:
            print(bench(folder, record_bytes, records, options.seconds))


if __name__ == "__main__":
    main()
