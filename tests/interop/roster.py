"""Every client that the tests know, in the order of the tables."""

from tests.interop.clients import AIOKAFKA, CONFLUENT, KAFKA_PYTHON, Client
from tests.interop.drivers import FRANZ_GO, JAVA, KAFKAJS

CLIENTS: tuple[Client, ...] = (CONFLUENT, AIOKAFKA, KAFKA_PYTHON, KAFKAJS, JAVA, FRANZ_GO)
