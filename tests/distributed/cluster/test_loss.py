"""A cluster that does not answer is told of, once, while it is worked on."""

import socket
import time

import pytest

from fokker.distributed.cluster import loss


def test_a_cluster_that_is_silent_while_it_is_worked_on_is_lost(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loss, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(loss, "OWN_SECONDS", 0.3)
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        loss.install(told.append)
        loss.joined(address, own=True)
        time.sleep(0.6)
        assert told == [], "it answers"
    loss.left()
    time.sleep(0.6)
    assert told == [], "nobody works on it"
    begin = time.monotonic()
    loss.joined(address, own=True)
    while not told and time.monotonic() < begin + 60:
        time.sleep(0.01)
    assert told == [
        f"the Ray cluster at {address} is lost: it has not answered for 0.3 s; what was done is kept, and "
        "the same command goes on"
    ]
    assert time.monotonic() - begin > 0.3
    loss.left()
