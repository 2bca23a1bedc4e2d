"""The small text files: what is written is read, what is damaged is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.storage import names
from broker.storage.checkpoints import (
    decode_epochs,
    decode_offsets,
    decode_properties,
    encode_epochs,
    encode_offsets,
    encode_properties,
)
from broker.storage.errors import CorruptFile, UnsafeName


def test_the_texts_are_kafkas():
    assert encode_offsets({("orders", 1): 7, ("orders", 0): 5}) == b"0\n2\norders 0 5\norders 1 7\n"
    assert encode_epochs([(0, 0), (3, 120)]) == b"0\n2\n0 0\n3 120\n"
    assert encode_properties({"version": "1", "node.id": "2"}) == b"version=1\nnode.id=2\n"


@given(st.dictionaries(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), st.integers(0, 2**60)))
def test_offsets_come_back(offsets):
    assert decode_offsets("f", encode_offsets(offsets)) == offsets


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"0\n",
        b"1\n0\n",
        b"0\n2\na 0 1\n",
        b"0\n0\na 0 1\n",
        b"0\n1\na 0\n",
        b"0\n1\na 0 x\n",
        b"0\n1\na 0 99999999999999999999\n",
        b"0\n1\na -5 1\n",
        b"\0" * 40,
        b"\xff\xfe0\n0\n",
        b"0\nmany\n",
    ],
)
def test_damaged_offsets_are_refused_by_name(data):
    with pytest.raises(CorruptFile, match="some/path"):
        decode_offsets("some/path", data)


@pytest.mark.parametrize("data", [b"0\n2\n3 5\n2 9\n", b"0\n2\n3 5\n4 4\n", b"0\n1\n3\n", b""])
def test_damaged_epochs_are_refused(data):
    with pytest.raises(CorruptFile):
        decode_epochs("f", data)


@given(st.binary(max_size=80))
def test_no_bytes_bring_a_decoder_down(data):
    for decode in (decode_offsets, decode_epochs, decode_properties):
        try:
            decode("f", data)
        except CorruptFile:
            pass


def test_properties_skip_comments():
    found = decode_properties("f", b"#Tue\n\nversion = 1\ncluster.id=a=b\n")
    assert found == {"version": "1", "cluster.id": "a=b"}
    with pytest.raises(CorruptFile):
        decode_properties("f", b"nonsense\n")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../x", "a\0b", "a b", "é", "x" * 250, "a\n"]
)
def test_unsafe_names_never_become_paths(name):
    with pytest.raises(UnsafeName):
        names.partition_folder(name, 0)


def test_folder_names():
    assert names.partition_folder("a.b-c", 12) == "a.b-c-12"
    assert names.parse_folder("a.b-c-12") == ("a.b-c", 12)
    for other in ("orders", "orders-", "orders-01", "-1", "orders-1.abc-delete", "x y-1"):
        assert names.parse_folder(other) is None
    with pytest.raises(UnsafeName):
        names.partition_folder("a", -1)
    long = names.deleted_folder("x" * 249, 7, "f" * 32)
    assert len(long) <= 255
    assert long.endswith("-7." + "f" * 32 + "-delete")
    assert names.segment_path("/d", 42, ".log") == "/d/00000000000000000042.log"
    assert names.parse_offset("00000000000000000042.log", ".log") == 42
    assert names.parse_offset("42.log", ".log") is None
