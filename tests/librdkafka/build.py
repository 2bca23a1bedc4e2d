"""librdkafka's own tests: fetched with npm, compiled once, kept in the cache folder.

The npm package `@confluentinc/kafka-javascript` carries the whole source of librdkafka with its
tests. Nothing here changes that source; what is built stays below the cache folder, by version.
"""

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

from benchmarks.peers import CACHE

PACKAGE = "@confluentinc/kafka-javascript"
PACKAGE_VERSION = "1.10.1"
HOME = CACHE / f"librdkafka-tests-{PACKAGE_VERSION}"
SOURCE = HOME / "package" / "deps" / "librdkafka"
TESTS = SOURCE / "tests"
RUNNER = TESTS / "test-runner"
# Without optimization, because compiling takes longer than what it would save.
CONFIGURE = [
    "--disable-curl",
    "--disable-gssapi",
    "--disable-lz4-ext",
    "--disable-optimization",
    "--disable-debug-symbols",
]
NEEDED = ("npm", "tar", "gcc", "g++", "make", "python3")
# Headers by the Debian packages they come with: tests leave themselves out without them.
HEADERS = {
    "libssl-dev": "openssl/ssl.h",
    "libzstd-dev": "zstd.h",
    "rapidjson-dev": "rapidjson/schema.h",
    "zlib1g-dev": "zlib.h",
}
FETCH_SECONDS = 120
BUILD_SECONDS = 900


class NotBuilt(Exception):
    """Why there is no test-runner."""


def missing() -> list[str]:
    """Programs and Debian packages that the build needs and that are not here."""
    programs = [name for name in NEEDED if shutil.which(name) is None]
    roots = (Path("/usr/include"), Path("/usr/local/include"))
    headers = [
        package
        for package, header in HEADERS.items()
        if not any((root / header).exists() for root in roots)
    ]
    return programs + headers


def runner() -> Path:
    """The test-runner, built when it is not there yet; raises NotBuilt."""
    if (HOME / ".complete").exists():
        return RUNNER
    if absent := missing():
        raise NotBuilt(f"{', '.join(absent)} missing, which the tests of librdkafka need")
    HOME.parent.mkdir(parents=True, exist_ok=True)
    with (HOME.parent / ".librdkafka-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be building it
        if not (HOME / ".complete").exists():
            _build()
    return RUNNER


def _build() -> None:
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    wanted = f"{PACKAGE}@{PACKAGE_VERSION}"
    packed = _run(["npm", "pack", "--silent", wanted], HOME, FETCH_SECONDS).split()[-1]
    _run(["tar", "--extract", "--gzip", "--no-same-owner", "--file", packed], HOME, FETCH_SECONDS)
    _run(["./configure", *CONFIGURE], SOURCE, BUILD_SECONDS)
    jobs = f"-j{os.cpu_count() or 1}"
    _run(["make", jobs, "libs"], SOURCE, BUILD_SECONDS)
    _run(["make", jobs, "-C", "tests", "build"], SOURCE, BUILD_SECONDS)
    (HOME / ".complete").touch()


def _run(command: list[str], folder: Path | str, seconds: float) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, check=False, capture_output=True, text=True, timeout=seconds
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotBuilt(f"{' '.join(command)}: {error}") from error
    if done.returncode:
        raise NotBuilt(f"{' '.join(command)}: {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def declared(source: Path = TESTS / "test.c") -> dict[str, tuple[bool, str]]:
    """Every test that the runner knows: name -> (needs no broker or a person, scenario)."""
    text = source.read_text(encoding="utf-8")
    text = text[text.index("struct test tests[]") :]
    text = text[: text.index("{NULL}}")]
    found = {}
    for entry in re.split(r"\n\s*_TEST\(", text)[1:]:
        name = entry[: entry.index(",")]
        apart = "TEST_F_LOCAL" in entry or "TEST_F_MANUAL" in entry
        scenario = re.search(r'\.scenario = "([^"]+)"', entry)
        found[name] = (apart, scenario[1].split(",")[0] if scenario else "default")
    return found


if __name__ == "__main__":
    runner()
