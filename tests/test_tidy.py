"""The habits of this project that a formatter cannot hold: sizes, names, docstrings, clean words."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("broker", "clusters", "shell", "tui")
SOURCES = sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b")


def test_there_are_sources_to_look_at() -> None:
    assert len(SOURCES) > 20


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_source_file_is_tidy(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    problems = []
    if path.name == "utils.py":
        problems.append("a utils.py says nothing about what it holds")
    if (lines := text.count("\n")) > FILE_LINES_MAX:
        problems.append(f"{lines} lines, {FILE_LINES_MAX} at most")
    if not ast.get_docstring(tree):
        problems.append("no module docstring")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                problems.append(f"line {node.lineno}: {node.name} has {length} lines")
    problems += [
        f"unfinished: {line.strip()}" for line in text.splitlines() if UNFINISHED.search(line)
    ]
    assert not problems, "\n".join(problems)


def test_every_test_file_has_a_name_of_its_own() -> None:
    """Test folders are no packages, so two files of one name would hide each other."""
    names: dict[str, Path] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        assert path.name not in names, f"{path} and {names[path.name]}"
        names[path.name] = path


def test_no_file_beside_the_packages_is_too_long_either() -> None:
    """Tests and tools: functions there may be as long as what they tell."""
    tools = (
        path for name in ("tests", "benchmarks", "docs") for path in (ROOT / name).rglob("*.py")
    )
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tools
        if (lines := path.read_text(encoding="utf-8").count("\n")) > FILE_LINES_MAX
    }
    assert not long, f"{FILE_LINES_MAX} lines at most: {long}"
