"""A real browser without a screen, spoken to over a pipe in Chromium's own protocol."""

import base64
import itertools
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 120.0
"""Seconds for a page on a busy machine to show what it will."""
OPTIONS = (
    *("--headless=new", "--remote-debugging-pipe", "--no-first-run", "--hide-scrollbars"),
    "--no-sandbox",  # Chromium refuses to run as root with it, and sees no page but ours.
    "--disable-3d-apis",  # TensorBoard then draws its curves as SVG, which are found in the page.
)
# TensorBoard is made of web components: what they show is in trees of their own, below each.
ALL = """
const walk = root => [...root.childNodes].flatMap(
  node => [node, ...walk(node), ...(node.shadowRoot ? walk(node.shadowRoot) : [])]);
const nodes = walk(document);
"""
TEXT = """nodes.filter(node => node.nodeType === 3 && !['STYLE', 'SCRIPT'].includes(node.parentNode.nodeName))
  .map(node => node.data).join(' ')"""


class Page:
    """A tab of the browser."""

    def __init__(self, process: subprocess.Popen, commands: Any, answers: Any):
        self._process, self._commands, self._answers = process, commands, answers
        self._numbers, self._session = itertools.count(1), {}
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}

    def _call(self, method: str, **parameters) -> dict[str, Any]:
        """The answer to a command; what the browser tells beside it is skipped."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters, **self._session}
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while (answer := json.loads(self._read())).get("id") != number:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _read(self) -> bytes:
        """One message, up to its zero."""
        message = bytearray()
        while byte := self._answers.read(1):
            if byte == b"\0":
                return bytes(message)
            message += byte
        raise AssertionError(f"the browser has ended with status {self._process.wait(10)}")

    def open(self, address: str, width: int = 1500, height: int = 1000) -> None:
        """Go to an address, in a window of this size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        self._call("Page.navigate", url="about:blank")  # One that differs after its # is not loaded anew.
        self._call("Page.navigate", url=address)

    def emulate(self, media: str = "", **features: str) -> None:
        """Be on the screen, or on paper (`print`), and prefer what media features say."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self._call("Emulation.setEmulatedMedia", media=media, features=named)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript in which `nodes` are all parts of the page."""
        code = f"(() => {{ {ALL} return {expression}; }})()"
        result = self._call("Runtime.evaluate", expression=code, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Until an expression is true."""
        until = time.monotonic() + PATIENCE
        while not self.evaluate(condition):
            assert time.monotonic() < until, f"never became true: {condition}; the page: {self.text()[:3000]}"
            time.sleep(0.2)

    def text(self) -> str:
        """What can be read on the page."""
        return " ".join(self.evaluate(TEXT).split())

    def wait_for_text(self, *texts: str) -> None:
        """Until all of these, without blanks, can be read on the page."""
        shown = f"({TEXT}).replace(/\\s/g, '')"
        self.wait_for(f"{json.dumps(texts)}.every(text => {shown}.includes(text))")

    def click(self, condition: str) -> None:
        """Click on the first `node` of which this is true."""
        self.evaluate(f"nodes.find(node => {condition}).click()")

    def screenshot(self) -> bytes:
        """What the window shows, as PNG, once it does not change any more."""
        until, before, shown = time.monotonic() + PATIENCE, b"", b" "
        while shown != before:
            assert time.monotonic() < until, "the page never comes to rest"
            time.sleep(1.0)
            data = self._call("Page.captureScreenshot", format="png")["data"]
            before, shown = shown, base64.b64decode(data)
        return shown


@contextmanager
def page(program: str, profile: Path, options: Sequence[str] = OPTIONS) -> Iterator[Page]:
    """A browser with one page, its files in a folder of its own."""
    (hears, says), (reads, writes) = os.pipe(), os.pipe()
    command = [program, *options, f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$@" 3<&{hears} 4>&{writes}', "bash", *command],
        pass_fds=(hears, writes),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(hears)
    os.close(writes)
    with open(says, "wb") as commands, open(reads, "rb") as answers:
        try:
            yield Page(process, commands, answers)
        finally:
            process.terminate()
            process.wait(30)
