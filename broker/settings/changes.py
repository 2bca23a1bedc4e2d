"""How AlterConfigs and IncrementalAlterConfigs turn a resource's settings into new ones. Pure.

It must never write: the result is the new set of overrides, or an error with its code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum

from broker.protocol.errors import ErrorCode, LogctlError
from broker.protocol.image import RESOURCE_BROKER, RESOURCE_TOPIC
from broker.settings.broker import BROKER_SETTINGS, check_dynamic_broker_config
from broker.settings.definition import (
    ConfigType,
    InvalidSetting,
    Setting,
    setting_named,
    split_list,
)
from broker.settings.topic import TOPIC_SETTINGS, check_topic_config


class Operation(IntEnum):
    """What IncrementalAlterConfigs does to one setting (KIP-339)."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class ConfigRefused(LogctlError):
    """A change of settings is not acceptable; ``code`` is the wire error."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def altered(
    resource_type: int,
    current: Mapping[str, str],
    operations: Iterable[tuple[str, int, str | None]],
) -> dict[str, str]:
    """Apply (name, operation, value) in turn to a resource's overrides. Raises ConfigRefused.

    APPEND and SUBTRACT start from the override, else from the default; appending what is there
    and subtracting what is not change nothing.
    """
    result = dict(current)
    seen: set[str] = set()
    for name, code, value in operations:
        if name in seen:
            raise ConfigRefused(ErrorCode.invalid_request, "Error due to duplicate config keys")
        seen.add(name)
        operation = _operation(code)
        # What nobody knows is not set either: deleting it changes nothing.
        known = name in current or operation is Operation.DELETE
        setting = _definition(resource_type, name, known=known)
        if operation is Operation.DELETE:
            result.pop(name, None)
            continue
        if value is None:
            raise ConfigRefused(ErrorCode.invalid_request, f"Null value not supported for : {name}")
        assert setting is not None
        result[name] = _value(setting, operation, result.get(name), value)
    _check(resource_type, {n: result[n] for n in seen if n in result}, result)
    return result


def replaced(resource_type: int, values: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """The overrides of the legacy AlterConfigs, which replaces all of them."""
    result: dict[str, str] = {}
    seen: set[str] = set()
    for name, value in values:
        if name in seen:
            raise ConfigRefused(ErrorCode.invalid_request, "Error due to duplicate config keys")
        seen.add(name)
        if value is None:
            raise ConfigRefused(ErrorCode.invalid_request, f"Null value not supported for : {name}")
        _definition(resource_type, name, known=False)
        result[name] = value
    _check(resource_type, result, result)
    return result


def _operation(code: int) -> Operation:
    try:
        return Operation(code)
    except ValueError:
        raise ConfigRefused(ErrorCode.invalid_request, f"Unknown operations type {code}") from None


def _definition(resource_type: int, name: str, *, known: bool) -> Setting | None:
    settings, kind = (
        (TOPIC_SETTINGS, "topic")
        if resource_type == RESOURCE_TOPIC
        else (BROKER_SETTINGS, "broker")
    )
    try:
        return setting_named(settings, name, kind)
    except InvalidSetting as error:
        if known:
            return None
        raise ConfigRefused(ErrorCode.invalid_config, str(error)) from None


def _value(setting: Setting, operation: Operation, current: str | None, value: str) -> str:
    if operation is Operation.SET:
        return value
    if setting.type is not ConfigType.LIST:
        raise ConfigRefused(
            ErrorCode.invalid_config,
            f"Can't {operation.name} to key {setting.name} because its type is not LIST",
        )
    words = list(split_list(current if current is not None else setting.default or ""))
    for word in split_list(value):
        if operation is Operation.APPEND and word not in words:
            words.append(word)
        elif operation is Operation.SUBTRACT and word in words:
            words.remove(word)
    return ",".join(words)


def _check(resource_type: int, changed: Mapping[str, str], result: Mapping[str, str]) -> None:
    try:
        if resource_type == RESOURCE_TOPIC:
            # A setting that only another version knows stays stored and is not judged here.
            check_topic_config({n: v for n, v in result.items() if n in TOPIC_SETTINGS})
        else:
            assert resource_type == RESOURCE_BROKER
            check_dynamic_broker_config(changed)
    except InvalidSetting as error:
        # Kafka's broker checks its own settings itself, and answers so (KAFKA-13609).
        is_topic = resource_type == RESOURCE_TOPIC
        code = ErrorCode.invalid_config if is_topic else ErrorCode.invalid_request
        raise ConfigRefused(code, str(error)) from None
