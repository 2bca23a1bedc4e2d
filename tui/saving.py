"""The rows of a table as a file: CSV as they are drawn, JSON as `Y` copies them. Pure but `keep`.

Must never write over a file that is there, nor leave half of one, nor a cell of CSV that a
spreadsheet would compute: whoever writes a record or names a topic would run formulas there
(https://owasp.org/www-community/attacks/CSV_Injection). JSON holds what there is, exactly.
"""

import csv
import io
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clusters.watch.slices import STEPS, Work
from tui.copying import row_as_json
from tui.table import SIGN, Column

NAMES_MAX = 1_000
KINDS = (".csv", ".jsonl", ".json")
# What begins a formula, also as wide letters; and what follows the sign of a plain number.
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
NUMBER = re.compile(r"[+-]? ?\d[\d ,._]*([eE][+-]?\d+)? ?%?|-")


class SavingProblem(Exception):
    """Why nothing was saved; the message is for the person."""


def file_kind(name: str) -> str:
    """The kind that a file's name asks for. Raises SavingProblem."""
    kind = Path(name).suffix.lower()
    if kind not in KINDS:
        raise SavingProblem(f"Which kind of file is {name}? It may end in {', '.join(KINDS)}.")
    return kind


def row_count(rows: Sequence[Any]) -> str:
    """How many rows, in words."""
    return "1 row" if len(rows) == 1 else f"{len(rows)} rows"


def writing(rows: Sequence[Any], columns: Sequence[Column[Any]], kind: str) -> Work[str]:
    """The text of a file, as work in slices. `columns` are those of CSV, whatever their width."""
    if kind == ".csv":
        return (yield from _csv(rows, columns))
    lines = []
    for number, row in enumerate(rows, 1):
        lines.append(row_as_json(row))
        if not number % STEPS:
            yield
    if kind == ".jsonl":
        return "".join(f"{line}\n" for line in lines)
    return json.dumps([json.loads(line) for line in lines], ensure_ascii=False, indent=2) + "\n"


def _csv(rows: Sequence[Any], columns: Sequence[Column[Any]]) -> Work[str]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow([column.title for column in columns])
    for number, row in enumerate(rows, 1):
        writer.writerow([_cell(column, row) for column in columns])
        if not number % STEPS:
            yield
    return text.getvalue()


def _cell(column: Column[Any], row: Any) -> str:
    """What is drawn without its sign; what a spreadsheet would take for a formula as text."""
    cell = str(column.draw(row))
    if not column.exact:
        cell = SIGN.sub("", cell.strip())
    if cell.lstrip(" ").startswith(FORMULA) and NUMBER.fullmatch(cell) is None:
        return f"'{cell}"
    return cell


def free_name(stem: str, kind: str = ".csv") -> str:
    """A name that no file of this folder has: orders.csv, or orders-2.csv beside that."""
    for number in range(1, NAMES_MAX):
        name = f"{stem}{kind}" if number == 1 else f"{stem}-{number}{kind}"
        if not os.path.lexists(name):
            break
    return name


def keep(text: str, name: str) -> Path:
    """Write a new file. Raises SavingProblem where there is one, or none can be."""
    path = Path(name).expanduser()
    try:
        with path.open("x", encoding="utf-8") as file:
            try:
                file.write(text)
                file.flush()
            except OSError:
                path.unlink(missing_ok=True)
                raise
    except FileExistsError as error:
        raise SavingProblem(f"There is a file {path} already; choose another name.") from error
    except OSError as error:
        why = error.strerror or str(error)
        raise SavingProblem(f"{path} could not be written: {why}.") from error
    return path.absolute()
