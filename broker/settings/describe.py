"""What DescribeConfigs answers: every setting of a topic or broker with value and source.

Pure; the caller hands in the image and the broker's file, and puts the entries on the wire.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import dropwhile

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
    entries = []
    for setting in _selected(TOPIC_SETTINGS, names):
        name = setting.name
        value = next(topic_value_places(name, overrides, static, image, node_id)).value
        chain = tuple(broker_name for broker_name, _ in BROKER_SYNONYMS.get(name, ()))
        places = _broker_places(chain, static, image, node_id) if chain else ()
        if name in overrides:
            places = (Synonym(name, overrides[name], ConfigSource.TOPIC), *places)
        source = places[0].source if places else ConfigSource.DEFAULT
        entries.append(ConfigEntry(setting, value, source, places, read_only=False))
    return entries


def describe_new_topic(
    image: MetadataImage,
    static: Mapping[str, str],
    overrides: Mapping[str, str],
    *,
    node_id: int | None = None,
) -> list[ConfigEntry]:
    """Every setting of a topic that need not exist yet, as CreateTopics answers them.

    Here, other than in DescribeConfigs, a value in hours counts as coming from the file.
    """
    entries = []
    for setting in TOPIC_SETTINGS.values():
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
    # The old name of node.id, which Kafka fills in.
    static = {"broker.id": str(node_id), **static}
    for setting in _selected(BROKER_SETTINGS, names):
        value, _ = next(broker_value_places(setting.name, static, image, node_id))
        places = _broker_places(_broker_synonyms(setting.name), static, image, node_id)
        source = places[0].source if places else ConfigSource.DEFAULT
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


def _broker_places(
    names: tuple[str, ...], static: Mapping[str, str], image: MetadataImage, node_id: int | None
) -> tuple[Synonym, ...]:
    """Every place that names one of these settings, as Kafka lists them.

    By source first, then by name; what stands before the first setting's own first place is left
    out. So a topic with log.retention.hours alone has no synonym of retention.ms.
    """
    defaults = {
        name: default for name in names if (default := BROKER_SETTINGS[name].default) is not None
    }
    own = image.config(RESOURCE_BROKER, str(node_id)) if node_id is not None else {}
    places = [
        Synonym(name, values[name], source)
        for values, source in (
            (own, ConfigSource.DYNAMIC_BROKER),
            (image.config(RESOURCE_BROKER, ""), ConfigSource.DYNAMIC_DEFAULT_BROKER),
            (static, ConfigSource.STATIC_BROKER),
            (defaults, ConfigSource.DEFAULT),
        )
        for name in names
        if name in values
    ]
    return tuple(dropwhile(lambda place: place.name != names[0], places))


def _broker_synonyms(name: str) -> tuple[str, ...]:
    """A broker setting and those that stand in for it when it is not set, strongest first."""
    for chain in BROKER_SYNONYMS.values():
        names = [n for n, _ in chain]
        if name in names:
            return tuple(names[names.index(name) :])
    return (name,)
