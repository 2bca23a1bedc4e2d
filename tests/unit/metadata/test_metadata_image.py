"""The image: what each record changes, what the delta tells, and what a snapshot keeps."""

import uuid

import pytest

from broker.protocol import image as im
from broker.protocol import metadata_records as rec

TOPIC = uuid.UUID(int=10)
OTHER = uuid.UUID(int=11)


def build(*records):
    image, _ = im.apply(im.EMPTY_IMAGE, 0, 1, records)
    return image


def step(image, *records):
    return im.apply(image, image.offset + 1, 2, records)


def broker(broker_id, epoch=0, **fields):
    return rec.RegisterBrokerRecord(
        broker_id=broker_id,
        incarnation_id=uuid.UUID(int=broker_id),
        broker_epoch=epoch,
        end_points=(rec.BrokerEndpoint(name="P", host="h", port=1, security_protocol=0),),
        **fields,
    )


def partition(index=0, topic_id=TOPIC, replicas=(1, 2), **fields):
    state = {"isr": replicas, "leader": replicas[0], "leader_epoch": 0, "partition_epoch": 0}
    return rec.PartitionRecord(
        partition_id=index, topic_id=topic_id, replicas=replicas, **{**state, **fields}
    )


def change(index=0, **fields):
    return rec.PartitionChangeRecord(partition_id=index, topic_id=TOPIC, **fields)


@pytest.fixture
def image():
    return build(
        broker(1),
        broker(2),
        rec.TopicRecord(name="t", topic_id=TOPIC),
        partition(0),
        partition(1),
        rec.ConfigRecord(resource_type=2, resource_name="t", name="retention.ms", value="5"),
    )


def test_offset_and_epoch_are_those_of_the_last_record(image):
    assert (image.offset, image.epoch) == (5, 1)
    after, delta = im.apply(image, 6, 3, ())
    assert (after.offset, after.epoch, delta.is_empty) == (6, 3, True)
    after, _ = im.apply(image, 6, 3, (), last_offset=8)
    assert after.offset == 8


def test_the_image_before_is_never_touched(image):
    topics, configs = dict(image.topics), dict(image.configs)
    step(image, change(leader=2), rec.RemoveTopicRecord(topic_id=TOPIC))
    assert image.topics == topics
    assert image.configs == configs


def test_what_did_not_change_is_shared(image):
    after, _ = step(image, change(0, leader=2))
    assert after.brokers is image.brokers
    assert after.configs is image.configs
    assert after.topics["t"].partitions[1] is image.topics["t"].partitions[1]


def test_a_named_leader_bumps_the_leader_epoch_even_when_it_stays(image):
    for leader in (1, 2, -1):
        after, delta = step(image, change(leader=leader))
        state = after.partition("t", 0)
        assert (state.leader, state.leader_epoch, state.partition_epoch) == (leader, 1, 1)
        assert delta.partitions_changed == (("t", 0, image.partition("t", 0), state),)


def test_an_isr_change_bumps_the_partition_epoch_alone(image):
    after, _ = step(image, change(isr=(1,)), change(isr=(1, 2)))
    state = after.partition("t", 0)
    assert (state.isr, state.leader, state.leader_epoch, state.partition_epoch) == ((1, 2), 1, 0, 2)


def test_every_other_field_changes_only_when_named(image):
    after, _ = step(
        image,
        change(
            replicas=(2, 3),
            adding_replicas=(3,),
            removing_replicas=(),
            leader_recovery_state=1,
            eligible_leader_replicas=(2,),
            last_known_elr=(3,),
            directories=(OTHER, OTHER),
        ),
        change(isr=(2,)),
    )
    assert after.partition("t", 0) == im.PartitionState(
        replicas=(2, 3),
        isr=(2,),
        leader=1,
        leader_epoch=0,
        partition_epoch=2,
        adding=(3,),
        elr=(2,),
        last_known_elr=(3,),
        leader_recovery_state=1,
        directories=(OTHER, OTHER),
    )


def test_net_changes_only(image):
    _, delta = step(
        image,
        rec.FenceBrokerRecord(id=1, epoch=0),
        rec.UnfenceBrokerRecord(id=1, epoch=0),
        rec.FenceBrokerRecord(id=1, epoch=0),
        rec.ConfigRecord(resource_type=2, resource_name="t", name="a", value="1"),
        rec.ConfigRecord(resource_type=2, resource_name="t", name="a", value=None),
    )
    assert delta.is_empty


def test_fencing_by_either_record(image):
    unfenced, delta = step(image, rec.UnfenceBrokerRecord(id=1, epoch=0))
    assert delta.brokers_changed == ((1, image.brokers[1], unfenced.brokers[1]),)
    assert unfenced.is_active(1)
    fenced, _ = step(
        unfenced, rec.BrokerRegistrationChangeRecord(broker_id=1, broker_epoch=0, fenced=1)
    )
    assert not fenced.is_unfenced(1)
    leaving, _ = step(
        unfenced,
        rec.BrokerRegistrationChangeRecord(broker_id=1, broker_epoch=0, in_controlled_shutdown=1),
    )
    assert leaving.is_unfenced(1)
    assert not leaving.is_active(1)


def test_a_registration_replaces_the_one_before(image):
    after, _ = step(image, broker(1, epoch=9, rack="z"))
    assert (after.brokers[1].epoch, after.brokers[1].rack) == (9, "z")
    gone, delta = step(after, rec.UnregisterBrokerRecord(broker_id=1, broker_epoch=9))
    assert 1 not in gone.brokers
    assert delta.brokers_changed == ((1, after.brokers[1], None),)


def test_a_removed_topic_takes_its_settings_along(image):
    after, delta = step(image, rec.RemoveTopicRecord(topic_id=TOPIC))
    assert im.same_contents(after, build(broker(1), broker(2)))
    assert delta.topics_deleted == (("t", TOPIC),)
    assert [c[:2] + c[3:] for c in delta.partitions_changed] == [("t", 0, None), ("t", 1, None)]
    assert delta.configs_changed == (((2, "t"), {"retention.ms": "5"}, {}),)


def test_a_topic_made_again_under_its_name_is_another_topic(image):
    after, delta = step(
        image,
        rec.RemoveTopicRecord(topic_id=TOPIC),
        rec.TopicRecord(name="t", topic_id=OTHER),
        partition(0, OTHER),
    )
    assert delta.topics_deleted == (("t", TOPIC),)
    assert delta.topics_created == (("t", OTHER),)
    state = after.partition("t", 0)
    old = image.topics["t"].partitions
    assert delta.partitions_changed == (
        ("t", 0, old[0], None),
        ("t", 1, old[1], None),
        ("t", 0, None, state),
    )
    assert after.topic_by_id(TOPIC) is None
    assert after.topic_by_id(OTHER).name == "t"


def test_a_topic_made_and_removed_in_one_batch_leaves_no_trace(image):
    after, delta = step(
        image,
        rec.TopicRecord(name="u", topic_id=OTHER),
        partition(0, OTHER),
        rec.RemoveTopicRecord(topic_id=OTHER),
    )
    assert im.same_contents(after, image)
    assert delta.is_empty


def test_features_appear_and_disappear(image):
    after, delta = step(image, rec.FeatureLevelRecord(name="f", feature_level=2))
    assert delta.features_changed == (("f", None, 2),)
    gone, delta = step(after, rec.FeatureLevelRecord(name="f", feature_level=0))
    assert gone.features == {}
    assert delta.features_changed == (("f", 2, None),)


@pytest.mark.parametrize(
    "record",
    [
        rec.PartitionChangeRecord(partition_id=0, topic_id=OTHER, leader=1),
        rec.PartitionChangeRecord(partition_id=9, topic_id=TOPIC, leader=1),
        rec.PartitionRecord(partition_id=0, topic_id=OTHER, replicas=(1,), isr=(1,)),
        rec.PartitionRecord(partition_id=5, topic_id=TOPIC, replicas=(1,), isr=(1,)),
        rec.RemoveTopicRecord(topic_id=OTHER),
        rec.TopicRecord(name="t", topic_id=OTHER),
        rec.FenceBrokerRecord(id=1, epoch=77),
        rec.FenceBrokerRecord(id=9, epoch=0),
        rec.UnregisterBrokerRecord(broker_id=1, broker_epoch=77),
    ],
)
def test_records_that_do_not_fit_are_refused_and_named(image, record):
    with pytest.raises(im.ImageError) as caught:
        step(image, record)
    assert str(caught.value)


def test_a_snapshot_in_any_order_of_partitions_is_read(image):
    records = im.image_records(image)
    swapped = [r for r in records if not isinstance(r, rec.PartitionRecord)]
    swapped += [r for r in reversed(records) if isinstance(r, rec.PartitionRecord)]
    read = im.from_snapshot(50, 4, swapped)
    assert im.same_contents(read, image)
    assert (read.offset, read.epoch) == (49, 4)


def test_records_that_need_no_meaning_here_survive_a_snapshot(image):
    scram = rec.UserScramCredentialRecord(
        name="u", mechanism=1, salt=b"s", stored_key=b"k", server_key=b"v", iterations=4096
    )
    quota = rec.ClientQuotaRecord(
        entity=(rec.EntityData(entity_type="user", entity_name=None),),
        key="producer_byte_rate",
        value=5.0,
        remove=False,
    )
    acl = rec.AccessControlEntryRecord(
        id=OTHER,
        resource_type=2,
        resource_name="t",
        pattern_type=3,
        principal="User:u",
        host="*",
        operation=3,
        permission_type=3,
    )
    after, _ = step(image, scram, quota, acl)
    assert [r in im.image_records(after) for r in (scram, quota, acl)] == [True] * 3
    assert im.same_contents(im.from_snapshot(1, 1, im.image_records(after)), after)
    gone, _ = step(
        after,
        rec.RemoveUserScramCredentialRecord(name="u", mechanism=1),
        rec.ClientQuotaRecord(entity=quota.entity, key=quota.key, value=0.0, remove=True),
        rec.RemoveAccessControlEntryRecord(id=OTHER),
    )
    assert im.same_contents(gone, image)


def test_the_metadata_version_comes_first_in_a_snapshot():
    image = build(
        rec.FeatureLevelRecord(name="a.first", feature_level=1),
        rec.FeatureLevelRecord(name="metadata.version", feature_level=25),
    )
    assert im.image_records(image)[0].name == "metadata.version"


def test_unknown_and_no_op_records_are_skipped(image):
    after, delta = step(
        image, rec.NoOpRecord(), rec.UnknownRecord(api_key=99, version=0, body=b"x")
    )
    assert im.same_contents(after, image)
    assert delta.is_empty
    assert after.offset == image.offset + 2


def test_the_delta_of_a_jump_equals_that_of_the_steps(image):
    records = (
        change(0, leader=2),
        rec.TopicRecord(name="u", topic_id=OTHER),
        partition(0, OTHER),
        rec.UnfenceBrokerRecord(id=2, epoch=0),
        rec.ConfigRecord(resource_type=4, resource_name="", name="a", value="1"),
        rec.FeatureLevelRecord(name="f", feature_level=1),
    )
    after, delta = step(image, *records)
    assert im.delta_between(image, after) == delta
    assert im.delta_between(image, image).is_empty
