"""Every broker setting by Kafka's name, and typed access to the values in force.

A broker's value is the dynamic one set for it, else the dynamic one for all brokers, else that of
its file, else the default. It must never read the file itself: ``static`` is handed in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from broker.protocol.image import RESOURCE_BROKER, MetadataImage
from broker.settings.broker_cluster import CLUSTER_SETTINGS
from broker.settings.broker_storage import STORAGE_SETTINGS
from broker.settings.definition import (
    ConfigSource,
    InvalidSetting,
    Setting,
    Value,
    index,
    setting_named,
    split_list,
)

BROKER_SETTINGS: Final = index((*CLUSTER_SETTINGS, *STORAGE_SETTINGS))


def broker_setting(name: str) -> Setting:
    """The definition of a broker setting. Raises InvalidSetting."""
    return setting_named(BROKER_SETTINGS, name, "broker")


def check_broker_config(values: Mapping[str, str]) -> None:
    """Check a broker's file. Raises InvalidSetting for the first wrong name or value."""
    for name in sorted(values):
        broker_setting(name).parse(values[name])


def check_dynamic_broker_config(values: Mapping[str, str]) -> None:
    """Check settings that are to change while brokers run. Raises InvalidSetting."""
    fixed = [name for name in sorted(values) if broker_setting(name).read_only]
    if fixed:
        listed = ", ".join(fixed)
        raise InvalidSetting(f"Cannot update these configs dynamically: [{listed}]")
    for name in sorted(values):
        broker_setting(name).parse(values[name])


def broker_value_places(
    name: str,
    static: Mapping[str, str],
    image: MetadataImage | None = None,
    node_id: int | None = None,
) -> Iterator[tuple[str | None, ConfigSource]]:
    """Every place that gives this broker setting a value, strongest first, the default last."""
    if image is not None:
        if node_id is not None:
            own = image.config(RESOURCE_BROKER, str(node_id))
            if name in own:
                yield own[name], ConfigSource.DYNAMIC_BROKER
        common = image.config(RESOURCE_BROKER, "")
        if name in common:
            yield common[name], ConfigSource.DYNAMIC_DEFAULT_BROKER
    if name in static:
        yield static[name], ConfigSource.STATIC_BROKER
    yield BROKER_SETTINGS[name].default, ConfigSource.DEFAULT


class BrokerSettings:
    """Typed values in force for one broker; give the image to see dynamic settings, too."""

    def __init__(
        self,
        static: Mapping[str, str],
        image: MetadataImage | None = None,
        node_id: int | None = None,
    ) -> None:
        self.static = static
        self._image = image
        self._node_id = node_id

    def value(self, name: str) -> Value:
        """The value in force. Raises InvalidSetting when the name is unknown.

        A value that is not acceptable (written by another version) counts as not set.
        """
        setting = broker_setting(name)
        for text, _ in broker_value_places(name, self.static, self._image, self._node_id):
            try:
                return setting.parse(text)
            except InvalidSetting:
                continue
        return setting.default_value

    def integer(self, name: str) -> int:
        """The value of a number that is always set."""
        value = self.value(name)
        assert isinstance(value, int), name
        return value

    def boolean(self, name: str) -> bool:
        """The value of a switch."""
        value = self.value(name)
        assert isinstance(value, bool), name
        return value

    def number(self, name: str) -> float:
        """The value of a decimal number."""
        value = self.value(name)
        assert isinstance(value, int | float), name
        return float(value)

    def text(self, name: str) -> str | None:
        """The value of a text; None when it is not set."""
        value = self.value(name)
        assert value is None or isinstance(value, str), name
        return value

    def limits(self, name: str) -> dict[str, int]:
        """The value of a list of ``address:number`` pairs."""
        pairs = (pair.rpartition(":") for pair in split_list(self.text(name) or ""))
        return {address: int(limit) for address, _, limit in pairs}

    def words(self, name: str) -> tuple[str, ...]:
        """The elements of a list; empty when it is not set."""
        value = self.value(name)
        assert value is None or isinstance(value, tuple), name
        return value or ()
