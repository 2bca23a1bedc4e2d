"""The checksum is the library's, whichever way it was loaded."""

import subprocess
import sys

import pytest

CHECK = "from broker.protocol.checksum import crc32c; print(hex(crc32c(b'123456789')))"


@pytest.mark.parametrize("before", ["", "import crc32c; "], ids=["alone", "after the package"])
def test_it_is_crc32c(before):
    # 0xe3069283: the check value of CRC-32C (Castagnoli), RFC 3720.
    done = subprocess.run(
        [sys.executable, "-c", before + CHECK],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "0xe3069283"


def test_a_part_goes_on_from_what_came_before_it():
    from broker.protocol.checksum import crc32c

    assert crc32c(b"6789", crc32c(b"12345")) == crc32c(b"123456789")


def test_the_package_itself_and_the_metadata_of_packages_are_not_loaded():
    code = "import sys, broker.protocol.batch\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert {"crc32c", "importlib.metadata"}.isdisjoint(done.stdout.split())
