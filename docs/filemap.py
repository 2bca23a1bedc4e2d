"""Writes docs/files.md, the map of source files, from the first line of each module docstring.

`python docs/filemap.py` writes it, `--check` fails when it is out of date.
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "files.md"
PACKAGES = ("broker", "clusters", "shell", "tui")


def first_line(path: Path) -> str:
    """The first sentence of what a module says of itself."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def render() -> str:
    """The whole map."""
    lines = [
        "# Map of files",
        "",
        "Written by `make docs` from the first sentence of each module.",
    ]
    for package in PACKAGES:
        for folder in sorted({p.parent for p in (ROOT / package).rglob("*.py")}):
            own = sorted(p for p in folder.glob("*.py") if p.name != "__init__.py")
            name = folder.relative_to(ROOT).as_posix()
            lines += ["", f"## {name}/", "", first_line(folder / "__init__.py")]
            if own:
                lines += ["", "| file | what it is |", "|---|---|"]
                lines += [f"| {path.name} | {first_line(path)} |" for path in own]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the map, or check it."""
    text = render()
    if "--check" in sys.argv:
        if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
            sys.stderr.write("docs/files.md is out of date; run `make docs`\n")
            return 1
        return 0
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
