"""How a request changes the settings of a resource."""

import pytest

from broker.protocol.errors import ErrorCode
from broker.protocol.image import RESOURCE_TOPIC
from broker.settings.changes import ConfigRefused, Operation, altered


def test_deleting_what_nobody_knows_changes_nothing():
    before = {"retention.ms": "5"}
    assert altered(RESOURCE_TOPIC, before, [("no.such.key", Operation.DELETE, None)]) == before


def test_setting_what_nobody_knows_is_refused():
    with pytest.raises(ConfigRefused) as raised:
        altered(RESOURCE_TOPIC, {}, [("no.such.key", Operation.SET, "1")])
    assert raised.value.code == ErrorCode.invalid_config


def test_any_negative_size_means_no_limit():
    changed = altered(RESOURCE_TOPIC, {}, [("retention.bytes", Operation.SET, "-5")])
    assert changed == {"retention.bytes": "-5"}
