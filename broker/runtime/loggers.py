"""The levels of this process's loggers, in Kafka's words, as the resource type 8 shows them.

A change lasts until the process ends and is told to nobody else, as with Kafka. It must never
leave a request half applied.
"""

import logging
from collections.abc import Iterable
from typing import Final

from broker.protocol.errors import ErrorCode, LogctlError

RESOURCE_LOGGER: Final = 8
# DescribeConfigs' source of such values.
LOGGER_SOURCE: Final = 6
ROOT: Final = "root"
_SET, _DELETE, _APPEND, _SUBTRACT = range(4)
_LEVELS: Final = {
    "DEBUG": logging.DEBUG,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
    "INFO": logging.INFO,
    "TRACE": 5,
    "WARN": logging.WARNING,
}
_WORDS: Final = {number: word for word, number in _LEVELS.items()}


class LoggerRefused(LogctlError):
    """A change of a logger's level is not acceptable; ``code`` is the wire error."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def logger_levels() -> dict[str, str]:
    """Every logger with the level in force, by name."""
    names = [
        name
        for name, found in logging.root.manager.loggerDict.items()
        if isinstance(found, logging.Logger)
    ]
    return {name: _word(_logger(name).getEffectiveLevel()) for name in sorted([ROOT, *names])}


def alter_loggers(operations: Iterable[tuple[str, int, str | None]], *, check_only: bool) -> None:
    """Set (0) or take back (1) levels, all or none. Raises LoggerRefused."""
    known = logger_levels()
    changes: list[tuple[str, int]] = []
    for name, operation, value in operations:
        if operation in (_APPEND, _SUBTRACT):
            word = "APPEND" if operation == _APPEND else "SUBTRACT"
            raise LoggerRefused(
                ErrorCode.invalid_request,
                f"{word} operation is not allowed for the BROKER_LOGGER resource",
            )
        if operation not in (_SET, _DELETE):
            raise LoggerRefused(ErrorCode.invalid_request, f"Unknown operations type {operation}")
        if name not in known:
            raise LoggerRefused(ErrorCode.invalid_config, f"Logger {name} does not exist!")
        if operation == _DELETE:
            if name == ROOT:
                raise LoggerRefused(
                    ErrorCode.invalid_request,
                    "Removing the log level of the root logger is not allowed",
                )
            changes.append((name, logging.NOTSET))
            continue
        level = _LEVELS.get(value or "")
        if level is None:
            raise LoggerRefused(
                ErrorCode.invalid_config,
                f"Cannot set the log level of {name} to {value} as it is not a supported log "
                f"level. Valid log levels are {', '.join(_LEVELS)}",
            )
        changes.append((name, level))
    if not check_only:
        for name, level in changes:
            _logger(name).setLevel(level)


def _logger(name: str) -> logging.Logger:
    return logging.getLogger(None if name == ROOT else name)


def _word(level: int) -> str:
    return next((word for number, word in sorted(_WORDS.items()) if level <= number), "FATAL")
