"""Ports for brokers: no two processes are given the same one, and no client can take one."""

import socket
import subprocess
import sys

import pytest

from clusters import free_ports as ports


def test_no_port_is_given_twice_and_all_can_be_listened_on() -> None:
    given = ports.free_ports(100) + ports.free_ports(60)
    assert len(set(given)) == 160
    for port in given:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))


def test_no_outgoing_connection_is_given_one() -> None:
    lowest = ports._lowest_ephemeral()
    assert all(ports.LOWEST < port < lowest for port in ports.free_ports(20))


def test_other_processes_are_given_others() -> None:
    script = "from clusters.free_ports import free_ports; print(*free_ports(70)); input()"
    command = [sys.executable, "-c", script]
    given = ports.free_ports(70)
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    try:
        for process in running:
            assert process.stdout is not None
            given += [int(each) for each in process.stdout.readline().split()]
    finally:
        for process in running:
            process.communicate("\n", 30)
    assert len(set(given)) == 280


def test_a_port_in_use_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_left", [])
    (first,) = ports.free_ports(1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 1))
        assert ports.free_ports(1) == [first + 2]
