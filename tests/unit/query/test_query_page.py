"""The page of the language says what the language does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from clusters.query import TABLES, parse

PAGE = (Path(__file__).parents[3] / "docs" / "query-language.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", BLOCKS[0].strip().splitlines())
def test_the_first_examples_can_be_read(text: str) -> None:
    assert parse(text)


@pytest.mark.parametrize("line", BLOCKS[1].strip().splitlines())
def test_conditions_of_commands_can_be_read(line: str) -> None:
    condition = shlex.split(line, comments=True)[-1]
    table = "events" if condition.startswith("kind") else None
    assert parse(condition, table=table)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_field_is_on_the_page(table) -> None:  # type: ignore[no-untyped-def]
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{table.name}` |"))
    fields = re.findall(r"`([\w.]+)`", row.split("|", 2)[2])
    known = [field.name for field in table.fields]
    assert fields == known + (["config.NAME"] if table.settings else [])
