"""The language of conditions: lists are filtered, waited for, asserted and watched by it."""

from clusters.query.errors import QueryError
from clusters.query.query import Query, parse
from clusters.query.schema import TABLES, Source
from clusters.query.state import UNKNOWN, ClusterState, Row, Table
from clusters.query.steady import Steady
from clusters.query.suggestions import Suggestion, suggest

__all__ = [
    "TABLES",
    "UNKNOWN",
    "ClusterState",
    "Query",
    "QueryError",
    "Row",
    "Source",
    "Steady",
    "Suggestion",
    "Table",
    "parse",
    "suggest",
]
