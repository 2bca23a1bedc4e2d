"""What `y` and `Y` put on the clipboard: a name, or a row as JSON (OSC 52)."""

import json
from dataclasses import asdict, is_dataclass
from typing import Any


def row_as_json(row: Any) -> str:
    """One line of JSON; names and values as the row has them, others as text."""
    data = row.to_json() if hasattr(row, "to_json") else row
    data = asdict(data) if is_dataclass(data) and not isinstance(data, type) else data
    return json.dumps(data, ensure_ascii=False, default=str)
