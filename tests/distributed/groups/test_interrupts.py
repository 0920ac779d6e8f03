"""Signals to this process, and what becomes of them."""

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from fokker.distributed.groups import interrupts
from fokker.distributed.groups.interrupts import NUMBERS, Interrupts


def send(number: signal.Signals) -> None:
    """Python runs the handler before this returns."""
    os.kill(os.getpid(), number)
    signal.sigtimedwait([], 0.01)


@pytest.fixture
def told() -> Iterator[threading.Event]:
    """Signals are taken; whether the first was told of."""
    told = threading.Event()
    before = {number: signal.getsignal(number) for number in NUMBERS}
    for number in NUMBERS:
        signal.signal(number, signal.SIG_DFL)
    printed = sys.unraisablehook
    Interrupts(told.set)
    yield told
    sys.unraisablehook = printed
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_signal_is_as_ctrl_c_and_those_that_follow_at_once_are_none(
    told: threading.Event, number: signal.Signals
):
    with pytest.raises(KeyboardInterrupt):
        send(number)
    assert told.wait(10)
    for again in NUMBERS:
        send(again)


def test_ctrl_c_again_is_heeded_when_somebody_does_not_want_to_wait(
    told: threading.Event, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGTERM)
    monkeypatch.setattr(interrupts, "IMPATIENT_SECONDS", -1.0)
    send(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)


def test_what_has_to_come_to_its_end_does_so_first(told: threading.Event, monkeypatch: pytest.MonkeyPatch):
    taken = Interrupts(told.set)
    monkeypatch.setattr(interrupts, "_installed", taken)
    for number in NUMBERS:
        signal.signal(number, taken._take)
    done = []

    def work() -> None:
        with interrupts.holding():
            send(signal.SIGTERM)
            done.append("all")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all"]
    with interrupts.holding():  # Nothing is raised twice.
        send(signal.SIGTERM)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_within_a_callback_of_the_garbage_collector_ends_the_command_all_the_same(
    told: threading.Event, number: signal.Signals, capsys: pytest.CaptureFixture[str]
):
    """Python drops what is raised there; jax collects its own garbage there, which takes long."""
    times = iter(range(2))

    def callback(*_) -> None:
        if next(times, None) is not None:
            send(number)

    def work() -> None:
        gc.collect()
        time.sleep(60)

    gc.callbacks.append(callback)
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
    finally:
        gc.callbacks.remove(callback)
    assert told.wait(10)
    assert capsys.readouterr().err == ""


def test_what_else_cannot_be_raised_is_printed(told: threading.Event, monkeypatch: pytest.MonkeyPatch):
    class Failing:
        def __del__(self) -> None:
            raise KeyboardInterrupt("no signal")

    printed = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    Interrupts(told.set)
    Failing()
    assert [str(unraisable.exc_value) for unraisable in printed] == ["no signal"]


def test_signals_that_are_to_be_ignored_are(monkeypatch: pytest.MonkeyPatch):
    """As `nohup` wants it of SIGHUP."""
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    others = {number: signal.getsignal(number) for number in NUMBERS if number != signal.SIGHUP}
    try:
        Interrupts(lambda: None)
        send(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        for number, handler in {**others, signal.SIGHUP: before}.items():
            signal.signal(number, handler)
