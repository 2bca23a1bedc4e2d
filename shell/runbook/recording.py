"""The record of a run: JSON for programs, Markdown for people; written as the run goes on."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any

from clusters.state import write_private

OUTPUT_CHARACTERS_MAX = 20_000
_SIGNS = {"ok": "✓", "failed": "✗", "skipped": "-", "refused": "✗", "interrupted": "!", "open": "?"}


@dataclass(slots=True, kw_only=True)
class Entry:
    """What came of one step."""

    address: str
    title: str
    action: str
    result: str
    started_at: str
    duration_ms: int
    detail: str = ""
    command: str = ""
    code: int | None = None
    output: str = ""

    def to_json(self) -> dict[str, Any]:
        """The documented fields, in order."""
        return {
            "step": self.address,
            "title": self.title,
            "action": self.action,
            "result": self.result,
            "started_at": self.started_at,
            "duration_ms": self.duration_ms,
            "detail": self.detail,
            "command": self.command,
            "code": self.code,
            "output": self.output[:OUTPUT_CHARACTERS_MAX],
        }


@dataclass(slots=True, kw_only=True)
class Record:
    """A run so far. `saved` are the answers that later steps use."""

    runbook: str
    file: str
    cluster: str
    started_at: str
    dry_run: bool
    variables: dict[str, Any]
    folder: str
    result: str = "running"
    finished_at: str = ""
    resume_from: str = ""
    entries: list[Entry] = field(default_factory=list)
    saved: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Where the record is, without its ending."""
        stamp = re.sub(r"[^0-9TZ]", "", self.started_at)
        return os.path.join(self.folder, f"{stem(self.file)}-{stamp}")

    def to_json(self) -> dict[str, Any]:
        """The documented fields, in order."""
        return {
            "runbook": self.runbook,
            "file": self.file,
            "cluster": self.cluster,
            "dry_run": self.dry_run,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "result": self.result,
            "resume_from": self.resume_from,
            "variables": self.variables,
            "saved": self.saved,
            "steps": [entry.to_json() for entry in self.entries],
        }

    def write(self) -> None:
        """Write both files anew, readable by their owner alone."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        text = json.dumps(self.to_json(), indent=2, ensure_ascii=False, default=str) + "\n"
        write_private(f"{self.path}.json", text.encode())
        write_private(f"{self.path}.md", self.to_markdown().encode())

    def to_markdown(self) -> str:
        """The run as a page."""
        lines = [f"# {self.runbook}", ""]
        lines += [f"- result: **{self.result}**{' (dry run)' if self.dry_run else ''}"]
        lines += [f"- cluster: {self.cluster}", f"- file: {self.file}"]
        lines += [f"- from {self.started_at} to {self.finished_at or 'now'}"]
        lines += [f"- {name} = {value}" for name, value in self.variables.items()]
        if self.resume_from:
            lines += [f"- go on with: `run {self.file} --from {self.resume_from}`"]
        lines += ["", "| | step | what | took | |", "|---|---|---|---|---|"]
        for entry in self.entries:
            cells = [
                _SIGNS.get(entry.result, entry.result),
                entry.address,
                entry.title,
                f"{entry.duration_ms} ms",
                entry.detail,
            ]
            lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
        for entry in self.entries:
            if entry.output.strip():
                fence = "`" * max(3, 1 + max(map(len, re.findall("`+", entry.output)), default=0))
                lines += ["", f"## {entry.address} {entry.title}", ""]
                lines += [f"`{entry.command}`", ""] if entry.command else []
                lines += [fence, entry.output[:OUTPUT_CHARACTERS_MAX].rstrip(), fence]
        return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")


def stem(file: str) -> str:
    """The name of a runbook's file as a part of other names."""
    name = os.path.splitext(os.path.basename(file))[0]
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)[:80] or "runbook"


def last_saved(folder: str, file: str) -> dict[str, Any]:
    """What the newest real run of a file saved, or nothing."""
    pattern = re.compile(re.escape(stem(file)) + r"-[0-9TZ]+\.json")
    try:
        names = sorted(name for name in os.listdir(folder) if pattern.fullmatch(name))
    except OSError:
        return {}
    for name in reversed(names):
        try:
            with open(os.path.join(folder, name), encoding="utf-8") as stream:
                data = json.load(stream)
            if data["file"] == file and not data["dry_run"]:
                saved: dict[str, Any] = data["saved"]
                return saved
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return {}
