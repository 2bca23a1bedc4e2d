"""Definitions, validation, inheritance and description of settings."""

import pytest

from broker.protocol.image import EMPTY_IMAGE, apply
from broker.protocol.metadata_records import ConfigRecord
from broker.settings.broker import BROKER_SETTINGS, BrokerSettings, check_broker_config
from broker.settings.definition import ConfigSource, ConfigType, InvalidSetting, Setting
from broker.settings.describe import (
    ConfigEntry,
    describe_broker,
    describe_broker_defaults,
    describe_topic,
)
from broker.settings.topic import (
    BROKER_SYNONYMS,
    TOPIC_SETTINGS,
    TopicSettings,
    check_topic_config,
)

TOPIC, BROKER = 2, 4


def image_with(*settings):
    """(resource type, name, key, value) ..."""
    records = [
        ConfigRecord(resource_type=t, resource_name=r, name=k, value=v) for t, r, k, v in settings
    ]
    image, _ = apply(EMPTY_IMAGE, 0, 1, records)
    return image


def one(entries):
    assert len(entries) == 1
    return entries[0]


def test_enough_is_defined_and_everything_is_explained():
    assert len(TOPIC_SETTINGS) >= 30
    assert len(BROKER_SETTINGS) >= 80
    for setting in (*TOPIC_SETTINGS.values(), *BROKER_SETTINGS.values()):
        assert setting.documentation.endswith("."), setting.name
        assert setting.documentation.strip() == setting.documentation, setting.name


def test_synonyms_exist_and_agree_with_the_topic_default():
    for name, chain in BROKER_SYNONYMS.items():
        default = TOPIC_SETTINGS[name].default_value
        found = None
        for broker_name, factor in chain:
            value = BROKER_SETTINGS[broker_name].default_value
            if value is not None and found is None:
                found = value * factor if factor != 1 else value
        assert found == default, name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retention.ms", "soon"),
        ("retention.ms", "1.5"),
        ("retention.ms", "-2"),
        ("retention.ms", "1_000"),
        ("retention.ms", "9223372036854775808"),
        ("segment.bytes", "2147483648"),
        ("min.insync.replicas", "0"),
        ("preallocate", "yes"),
        ("cleanup.policy", "compact,shred"),
        ("compression.type", "zip"),
        ("message.timestamp.type", "createtime"),
        ("min.cleanable.dirty.ratio", "1.5"),
        ("leader.replication.throttled.replicas", "1-2"),
        ("remote.storage.enable", "true"),
    ],
)
def test_values_out_of_bounds_are_refused_by_name(name, value):
    with pytest.raises(InvalidSetting, match=name.replace(".", r"\.")):
        check_topic_config({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retention.ms", "-1"),
        ("retention.ms", " 5 "),
        ("preallocate", "TRUE"),
        ("cleanup.policy", "compact, delete"),
        ("leader.replication.throttled.replicas", "0:1,1:2"),
        ("leader.replication.throttled.replicas", "*"),
        ("leader.replication.throttled.replicas", ""),
        ("compression.zstd.level", "-5"),
    ],
)
def test_good_values(name, value):
    check_topic_config({name: value})


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(InvalidSetting, match=r"did you mean log\.retention\.hours\?"):
        check_broker_config({"log.retention.hour": "1"})


def test_all_defaults_of_a_topic():
    settings = TopicSettings.resolve(EMPTY_IMAGE, {}, "t")
    assert settings == TopicSettings()
    for name, setting in TOPIC_SETTINGS.items():
        if hasattr(settings, name.replace(".", "_")):
            assert getattr(settings, name.replace(".", "_")) == setting.default_value, name
    assert settings.deletes
    assert not settings.compacted
    assert not settings.log_append_time
    assert not settings.flush_on_commit


def test_the_strongest_place_wins():
    static = {"log.retention.hours": "1", "log.segment.bytes": "1000"}
    image = image_with(
        (TOPIC, "mine", "retention.ms", "5"),
        (BROKER, "", "log.segment.bytes", "2000"),
        (BROKER, "1", "log.segment.bytes", "3000"),
    )
    mine = TopicSettings.resolve(image, static, "mine", 1)
    assert (mine.retention_ms, mine.segment_bytes) == (5, 3000)
    other = TopicSettings.resolve(image, static, "other", 2)
    assert (other.retention_ms, other.segment_bytes) == (3_600_000, 2000)


def test_units_of_time_are_turned_into_milliseconds():
    def retention(**static):
        named = {f"log.retention.{unit}": value for unit, value in static.items()}
        return TopicSettings.resolve(EMPTY_IMAGE, named, "t").retention_ms

    assert retention(hours="2") == 7_200_000
    assert retention(hours="2", minutes="3") == 180_000
    assert retention(hours="2", minutes="3", ms="4") == 4
    assert retention(hours="-1") == -1


def test_a_stored_value_that_makes_no_sense_counts_as_not_set():
    image = image_with((TOPIC, "t", "retention.ms", "soon"))
    assert TopicSettings.resolve(image, {}, "t").retention_ms == 604_800_000


def test_the_flush_policy_is_the_brokers():
    assert TopicSettings.resolve(EMPTY_IMAGE, {"log.flush.policy": "commit"}, "t").flush_on_commit
    image = image_with((BROKER, "", "log.flush.policy", "commit"))
    assert TopicSettings.resolve(image, {}, "t", 1).flush_on_commit


def test_typed_access_to_broker_settings():
    image = image_with((BROKER, "3", "message.max.bytes", "77"))
    settings = BrokerSettings({"num.partitions": "4", "broker.rack": "a"}, image, 3)
    assert settings.integer("num.partitions") == 4
    assert settings.integer("message.max.bytes") == 77
    assert settings.text("broker.rack") == "a"
    assert settings.text("inter.broker.listener.name") is None
    assert settings.boolean("auto.create.topics.enable") is True
    assert settings.words("listeners") == ("PLAINTEXT://:9092",)
    assert settings.words("log.dirs") == ()
    assert settings.number("log.cleaner.min.cleanable.ratio") == 0.5
    with pytest.raises(InvalidSetting):
        settings.value("no.such")


def test_a_topic_is_described_with_every_place_of_a_value():
    static = {"log.retention.hours": "1"}
    image = image_with(
        (TOPIC, "t", "retention.ms", "5"),
        (BROKER, "", "log.retention.ms", "6"),
        (BROKER, "1", "log.retention.ms", "7"),
    )
    entry = one(describe_topic(image, static, "t", node_id=1, names={"retention.ms"}))
    assert (entry.value, entry.source, entry.read_only) == ("5", ConfigSource.TOPIC, False)
    assert [(s.name, s.value, int(s.source)) for s in entry.synonyms] == [
        ("retention.ms", "5", 1),
        ("log.retention.ms", "7", 2),
        ("log.retention.ms", "6", 3),
        ("log.retention.hours", "1", 4),
        ("log.retention.hours", "168", 5),
    ]


def test_a_place_of_a_weaker_name_alone_is_not_told():
    """As Kafka does it: retention.ms has no synonym until log.retention.ms is set somewhere."""
    static = {"log.retention.hours": "1"}
    entry = one(describe_topic(EMPTY_IMAGE, static, "t", names={"retention.ms"}))
    assert (entry.value, int(entry.source), entry.synonyms) == ("3600000", 5, ())
    entry = one(describe_broker(EMPTY_IMAGE, static, 1, names={"log.retention.ms"}))
    assert (entry.value, int(entry.source), entry.synonyms) == (None, 5, ())
    image = image_with((BROKER, "1", "log.retention.ms", "7"))
    entry = one(describe_broker(image, static, 1, names={"log.retention.ms"}))
    assert [(s.name, s.value, int(s.source)) for s in entry.synonyms] == [
        ("log.retention.ms", "7", 2),
        ("log.retention.hours", "1", 4),
        ("log.retention.hours", "168", 5),
    ]


def test_every_setting_is_described_sorted_and_once():
    names = [e.setting.name for e in describe_topic(EMPTY_IMAGE, {}, "t")]
    assert names == sorted(TOPIC_SETTINGS)
    names = [e.setting.name for e in describe_broker(EMPTY_IMAGE, {}, 1)]
    assert names == sorted(BROKER_SETTINGS)


def test_a_broker_is_described_from_its_file_and_what_changed_since():
    image = image_with((BROKER, "", "message.max.bytes", "9"))
    entries = describe_broker(
        image, {"node.id": "1"}, 1, names={"node.id", "message.max.bytes", "num.partitions"}
    )
    found = {e.setting.name: (e.value, int(e.source), e.read_only) for e in entries}
    assert found == {
        "node.id": ("1", 4, True),
        "message.max.bytes": ("9", 3, False),
        "num.partitions": ("1", 5, True),
    }


def test_the_settings_of_all_brokers_are_only_those_that_were_set():
    image = image_with((BROKER, "", "message.max.bytes", "9"), (BROKER, "1", "log.roll.ms", "5"))
    entry = one(describe_broker_defaults(image))
    assert (entry.setting.name, entry.value) == ("message.max.bytes", "9")
    assert describe_broker_defaults(EMPTY_IMAGE) == []


def test_an_entry_on_the_wire():
    entry = one(describe_topic(EMPTY_IMAGE, {}, "t", names={"retention.bytes"}))
    full = entry.to_struct(synonyms=True, documentation=True)
    assert (full.config_type, full.config_source) == (ConfigType.LONG, 5)
    assert full.synonyms[0].name == "log.retention.bytes"
    assert full.documentation
    bare = entry.to_struct(synonyms=False, documentation=False)
    assert (bare.synonyms, bare.documentation) == ([], None)


def test_the_value_of_a_secret_is_never_told():
    secret = Setting("some.password", ConfigType.PASSWORD, None, "A secret.", sensitive=True)
    entry = ConfigEntry(secret, "hunter2", ConfigSource.STATIC_BROKER, (), read_only=True)
    struct = entry.to_struct(synonyms=True, documentation=True)
    assert (struct.value, struct.is_sensitive) == (None, True)
    assert "hunter2" not in repr(struct)
