"""The cluster file as a JSON schema, for editors that complete and check YAML. Pure."""

from __future__ import annotations

from typing import Any

from clusters.spec.models import ClusterSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def spec_schema() -> dict[str, Any]:
    """The schema; keys that start with `x-` are allowed at the top, as the loader allows them."""
    schema = ClusterSpec.model_json_schema()
    schema["patternProperties"] = {"^x-": {}}
    schema["title"] = "A cluster file of logctl"
    return {"$schema": DIALECT, **schema}
