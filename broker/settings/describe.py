"""What DescribeConfigs answers: every setting of a topic or broker with value and source.

Pure; the caller hands in the image and the broker's file, and puts the entries on the wire.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from broker.protocol.image import RESOURCE_BROKER, RESOURCE_TOPIC, MetadataImage
from broker.protocol.struct import Struct
from broker.settings.broker import BROKER_SETTINGS, broker_value_places
from broker.settings.definition import ConfigSource, Setting
from broker.settings.topic import BROKER_SYNONYMS, TOPIC_SETTINGS, Synonym, topic_value_places


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """One described setting. ``synonyms`` are all places with a value, the one in force first."""

    setting: Setting
    value: str | None
    source: ConfigSource
    synonyms: tuple[Synonym, ...]
    read_only: bool

    def to_struct(self, *, synonyms: bool, documentation: bool) -> Struct:
        """The entry as DescribeConfigs carries it; the value of a sensitive setting is null."""
        hidden = self.setting.sensitive
        places = self.synonyms if synonyms else ()
        return Struct(
            name=self.setting.name,
            value=None if hidden else self.value,
            read_only=self.read_only,
            config_source=int(self.source),
            is_sensitive=hidden,
            synonyms=[
                Struct(name=p.name, value=None if hidden else p.value, source=int(p.source))
                for p in places
            ],
            config_type=int(self.setting.type),
            documentation=self.setting.documentation if documentation else None,
        )


def describe_topic(
    image: MetadataImage,
    static: Mapping[str, str],
    topic: str,
    *,
    node_id: int | None = None,
    names: Collection[str] | None = None,
) -> list[ConfigEntry]:
    """Every topic setting (or those in ``names``; unknown ones are left out), sorted by name."""
    overrides = image.config(RESOURCE_TOPIC, topic)
    return describe_topic_overrides(image, static, overrides, node_id=node_id, names=names)


def describe_topic_overrides(
    image: MetadataImage,
    static: Mapping[str, str],
    overrides: Mapping[str, str],
    *,
    node_id: int | None = None,
    names: Collection[str] | None = None,
) -> list[ConfigEntry]:
    """The same for a topic that has these overrides but need not exist (CreateTopics)."""
    entries = []
    for setting in _selected(TOPIC_SETTINGS, names):
        places = tuple(topic_value_places(setting.name, overrides, static, image, node_id))
        entries.append(
            ConfigEntry(setting, places[0].value, places[0].source, places, read_only=False)
        )
    return entries


def describe_broker(
    image: MetadataImage,
    static: Mapping[str, str],
    node_id: int,
    *,
    names: Collection[str] | None = None,
) -> list[ConfigEntry]:
    """Every broker setting as broker ``node_id``, which has this file, sees it."""
    entries = []
    for setting in _selected(BROKER_SETTINGS, names):
        places = tuple(
            Synonym(name, value, source)
            for name in _broker_synonyms(setting.name)
            for value, source in broker_value_places(name, static, image, node_id)
            if source is not ConfigSource.DEFAULT or (name == setting.name and value is not None)
        )
        value, source = next(broker_value_places(setting.name, static, image, node_id))
        entries.append(ConfigEntry(setting, value, source, places, setting.read_only))
    return entries


def describe_broker_defaults(
    image: MetadataImage, *, names: Collection[str] | None = None
) -> list[ConfigEntry]:
    """The dynamic settings of all brokers: the resource type broker with the empty name."""
    values = image.config(RESOURCE_BROKER, "")
    source = ConfigSource.DYNAMIC_DEFAULT_BROKER
    return [
        ConfigEntry(
            setting,
            values[setting.name],
            source,
            (Synonym(setting.name, values[setting.name], source),),
            setting.read_only,
        )
        for setting in _selected(BROKER_SETTINGS, names)
        if setting.name in values
    ]


def _selected(settings: Mapping[str, Setting], names: Collection[str] | None) -> Iterable[Setting]:
    return (s for s in settings.values() if names is None or s.name in names)


def _broker_synonyms(name: str) -> tuple[str, ...]:
    """A broker setting and those that stand in for it when it is not set, strongest first."""
    for chain in BROKER_SYNONYMS.values():
        names = [n for n, _ in chain]
        if name in names:
            return tuple(names[names.index(name) :])
    return (name,)
