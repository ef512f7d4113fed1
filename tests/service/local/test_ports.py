"""Free ports, and rooms of them."""

import socket

import pytest

from service.local.ports import PortTaken, can_listen, check_port, free_ports


def test_free_ports_are_free_different_and_below_those_of_outgoing_connections() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert all(20_000 <= port < 30_000 for port in ports)
    assert all(can_listen(port) for port in ports)


def test_room_is_free_behind_each_port(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    taken = set(range(20_005, 29_000))
    monkeypatch.setattr("service.local.ports.can_listen", lambda port: asked.append(port) or port not in taken)
    for first in free_ports(3, room=10):
        assert not taken & set(range(first, first + 10))
    assert len(asked) > 3


def test_a_port_that_is_taken_on_another_address_is_taken() -> None:
    """Ray's metrics listen on every interface."""
    with socket.socket() as other:
        other.bind(("127.0.0.2", 0))
        other.listen()
        assert not can_listen(other.getsockname()[1])


def test_a_taken_port_is_named_with_what_to_do() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert not can_listen(port)
        with pytest.raises(PortTaken, match=rf"cannot listen on port {port} of 127\.0\.0\.1 .*or take the train"):
            check_port("127.0.0.1", port, "take the train")
