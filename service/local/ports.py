"""TCP ports of this machine: which are free, and whether the service may listen on the ones it was given."""

import random
import socket

from vision.errors import SightlineError

# Below the range from which the system takes ports for outgoing connections: one of those may be taken in the seconds
# until HAProxy binds it. And below 30000, where Ray's replicas begin to listen.
_PORTS = range(20_000, 30_000)
EVERY_INTERFACE = "0.0.0.0"  # noqa: S104 - only to find out whether a port is taken


class PortTaken(SightlineError):
    """Another process listens on the port."""

    code = "port_taken"


def free_ports(count: int, room: int = 1) -> list[int]:
    """Ports on which nobody listens now, on any interface; each differs from the others.

    Args:
        count: 1 to 100.
        room: how many ports in a row must be free from each of them on, 1 to 100.
    """
    found: list[int] = []
    first = range(_PORTS.start, _PORTS.stop - room, room)
    for port in random.sample(first, len(first)):
        if len(found) == count:
            break
        if all(can_listen(port + offset) for offset in range(room)):
            found.append(port)
    return found


def can_listen(port: int) -> bool:
    """Whether this process could listen on the port of every interface now."""
    try:
        check_port(EVERY_INTERFACE, port, "")
    except PortTaken:
        return False
    return True


def check_port(host: str, port: int, remedy: str) -> None:
    """Checks that this process can listen on a port.

    Args:
        host: an IPv4 or IPv6 address of this machine.
        port: 1 to 65,535.
        remedy: how to choose another port; ends the message.

    Raises:
        PortTaken: it cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            reason = f"The service cannot listen on port {port} of {host} ({error.strerror})."
            raise PortTaken(f"{reason} Stop the program that uses it, or {remedy}.") from error
