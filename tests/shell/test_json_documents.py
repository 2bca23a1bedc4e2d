"""JSON of any layout becomes records: on one line, spread over lines, in arrays; errors by line."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shell import json_documents
from shell.exits import Failed
from shell.inputs import BadRecord, Recipe, records_of_lines
from shell.json_documents import Broken, DocumentReader

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=5)
LAYOUTS = st.sampled_from([None, 0, 1, 4])


def read(text: str | bytes, *, split: bool = True) -> list:
    content = text.encode() if isinstance(text, str) else text
    reader = DocumentReader(split_arrays=split)
    found = [each for line in content.split(b"\n") for each in reader.feed(line)]
    return [*found, *reader.end()]


def contents(text: str, **more) -> list[bytes]:
    found = read(text, **more)
    assert not [each for each in found if isinstance(each, Broken)]
    return [each.content for each in found]


@given(st.lists(st.tuples(OBJECTS, LAYOUTS)))
def test_documents_come_back_whatever_their_layout(documents):
    text = "\n".join(json.dumps(value, indent=indent) for value, indent in documents)
    assert [json.loads(each) for each in contents(text)] == [value for value, _ in documents]


@given(st.lists(VALUES), LAYOUTS, st.booleans())
def test_elements_of_an_array_come_back_whatever_its_layout(values, indent, ascii_only):
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    assert [json.loads(each) for each in contents(text)] == values
    assert [json.loads(each) for each in contents(text, split=False)] == [values]


@given(st.lists(OBJECTS | st.integers() | st.text()))
def test_documents_on_one_line_stay_byte_for_byte(values):
    lines = [json.dumps(value, separators=(" ,  ", "  : ")) for value in values]
    assert contents("\n".join(lines)) == [line.encode() for line in lines]


def test_space_goes_between_parts_alone():
    text = '{\n  "a": "b  c\\n\\"  {[",\n\t"n": 1.50e+3 , "s": [ 1,\n 2 ]\n}\r\n'
    assert contents(text) == [b'{"a":"b  c\\n\\"  {[","n":1.50e+3,"s":[1,2]}']


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"a": 1}\n\n{"a":\n{"a": 2}\n', ["line 1", "!line 3", "line 4"]),
        (
            '{"a":\n' * 3 + '{"a": 2}\n{"a": 3}',
            ["!line 1", "!line 2", "!line 3", "line 4", "line 5"],
        ),
        ('{"a": 1, "b"\n{"a": 2}', ["!line 1", "line 2"]),
        ('{"a": nope}\n{"a": 2}', ["!line 1", "line 2"]),
        ('{\n  "a": 1 2\n}\n{\n  "a": 2\n}', ["!line 1", "line 4"]),
        ('{ nope,\n  "a": 2,\n}\n{"a": 3}', ["!line 1", "line 4"]),
        ('{"a": 1}\n{\n  "a": 2', ["line 1", "!line 2"]),
        ('[{"a": 1}, {"a": 2}]', ["line 1 (element 1)", "line 1 (element 2)"]),
        ('[\n{"a":\n1},\n\n{"a": 2}]\n{"b": 1}', ["line 2", "line 5", "line 6"]),
        ('[\n{"a": 1},\n{"a" 2},\n{"a": 3}\n]', ["line 2", "!line 3", "line 4"]),
        ('[1,,2,]\n"x"', ["line 1", "!line 1", "line 1", "!line 1", "line 2"]),
        ("[]\n[ ]\n[\n]", []),
        ('[1] 2\n{"a": 1}', ["line 1", "!line 1", "line 2"]),
        ('[1\n{"a": 1}', ["!line 1"]),
        ('[1}\n}\n{"a": 1}', ["!line 1", "line 3"]),
        ('{"a": "no end\n{"a": 1}', ["!line 1", "line 2"]),
        ("}\n17\ntrue", ["line 1", "line 2", "line 3"]),
        ('{"a": 1} {"b": 2}\n{"a": 1}', ["!line 1", "line 2"]),
    ],
)
def test_what_is_no_json_is_told_by_line_and_the_rest_is_read(text, wanted):
    found = [("!" if isinstance(each, Broken) else "") + each.place for each in read(text)]
    assert len(found) == len(wanted), found
    assert all(each.startswith(place) for each, place in zip(found, wanted, strict=True)), found


def test_the_line_of_a_mistake_is_that_in_the_file():
    broken = read('{"a": 1}\n{\n  "a": 1\n  "b": 2\n}')[1]
    assert (broken.place, "line 4 column 3" in broken.reason) == ("line 2", True)


def test_bytes_that_are_no_text_are_told():
    assert "UTF-8" in read(b'{\n"a": "\xff"\n}')[0].reason


def test_a_document_without_an_end_is_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr(json_documents, "DOCUMENT_BYTES_MAX", 100)
    with pytest.raises(Failed, match="begins in line 2 is longer"):
        read('{"a": 1}\n{\n' + ' "a": 1,\n' * 20)


def records(recipe: Recipe, text: str) -> list:
    async def collect():
        async def lines():
            for line in text.encode().split(b"\n"):
                yield line

        return [each async for each in records_of_lines(recipe, lines(), "o.json")]

    return asyncio.run(collect())


def test_fields_give_key_and_time_whatever_the_layout():
    text = json.dumps([{"id": 1, "at": 5}, {"id": 2}, {"id": 3, "at": 7}], indent=2)
    found = records(Recipe(form="json", key_field="id", timestamp_field="at"), text)
    assert [(each.key, each.timestamp_ms) for each in (found[0], found[2])] == [
        (b"1", 5),
        (b"3", 7),
    ]
    assert isinstance(found[1], BadRecord)
    assert "o.json line 6 (element 2) has no field 'at'" in found[1].message


def test_records_are_taken_from_an_array_too():
    text = json.dumps([{"key": "k", "value": "v"}, {"value": None}], indent=1)
    found = records(Recipe(form="records"), text)
    assert [(each.key, each.value) for each in found] == [(b"k", b"v"), (None, None)]


def test_arrays_are_kept_when_that_is_asked_for():
    found = records(Recipe(form="json", keep_arrays=True), "[1,\n 2]\n[3]")
    assert [each.value for each in found] == [b"[1,2]", b"[3]"]
