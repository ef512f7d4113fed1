"""The messages between a replica and its explaining process."""

import io

import pytest

from service.explanation import frames


def test_a_message_arrives_as_it_was_sent():
    stream = io.BytesIO()
    sent = [({"kind": "explain", "text": "猫\n\0"}, bytes(range(256)) * 1000), ({"code": None}, b"")]
    for header, body in sent:
        frames.write(stream, header, body)
    stream.seek(0)
    for header, body in sent:
        assert frames.read(stream) == (header | {"body_bytes": len(body)}, body)
    with pytest.raises(EOFError):
        frames.read(stream)


@pytest.mark.parametrize("cut", [1, 4, 5, 20])
def test_a_message_that_is_cut_off_means_that_the_other_end_has_died(cut):
    stream = io.BytesIO()
    frames.write(stream, {"code": None}, b"body")
    with pytest.raises(EOFError, match="the pipe was closed"):
        frames.read(io.BytesIO(stream.getvalue()[:-cut]))
