"""An engine in its own process, which may hang, crash or flood stderr without harm.

The worker is a plain Python process that answers on its standard output, not a `multiprocessing`
child: those import the caller's main program again, and a data loader's worker may have none. A
message is JSON, with its arrays behind it: what a plug-in's process sends is read, never run.
"""

import contextlib
import importlib
import json
import math
import os
import signal
import struct
import subprocess
import sys
import threading
import weakref
from typing import Any, BinaryIO

import numpy as np

_PROGRAM = "from labkit.effects.hosts.worker import serve; serve()"
# What a message may hold in bytes: its JSON, and each of its arrays.
_LONGEST_TEXT, _LARGEST_ARRAY = 1 << 26, 1 << 31
_DTYPES = {name: np.dtype(name) for name in ("float32", "float64", "uint8")}


class PluginError(RuntimeError):
    """A plug-in is missing, cannot be hosted, crashed, or did not answer in time."""


class LocalHost:
    """An engine in this process, for the lab's own pedals; it needs no time limit."""

    def __init__(self, engine: str, where: str, timeout_s: float) -> None:
        self._engine, self.timeout_s = _make(engine, where), timeout_s

    def call(self, method: str, *arguments: Any) -> Any:
        return _ask(self._engine, method, arguments)

    def close(self) -> None:
        """Nothing is left behind."""


class Worker:
    """An engine in another process, started at the first call and again after a failure.

    The engine is ``"module:Class"`` on this process's `sys.path`, `where` the argument of the
    class; opening, and every call, may take `timeout_s`.
    """

    def __init__(self, engine: str, where: str, timeout_s: float) -> None:
        self._open, self.timeout_s = (engine, where), timeout_s
        self._process: subprocess.Popen | None = None
        self._stop: weakref.finalize | None = None
        self._lock = threading.Lock()

    def call(self, method: str, *arguments: Any) -> Any:
        """The result of a method, or the value of an attribute, of the engine.

        Raises PluginError when the engine raised, the process died, or nothing came back in time.
        In the last two cases the process is ended and the next call starts a fresh one.
        """
        with self._lock:
            if self._process is None:
                self._start()
                self._exchange("open", self._open)
            return self._exchange(method, arguments)

    def close(self) -> None:
        """End the process at once."""
        if self._stop is not None:
            self._stop()
        self._process = None

    def _start(self) -> None:
        folders = os.pathsep.join(path or os.getcwd() for path in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": folders},
            process_group=0,  # an interrupt at the keyboard is the caller's to handle
        )
        self._stop = weakref.finalize(self, _end, self._process)

    def _exchange(self, method: str, arguments: tuple[Any, ...]) -> Any:
        expired = threading.Event()
        timer = threading.Timer(self.timeout_s, _expire, (self._process, expired))
        timer.daemon = True
        timer.start()
        try:
            send(self._process.stdin, [method, arguments])
            match receive(self._process.stdout):
                case [bool(done), value]:
                    pass
                case other:
                    raise ValueError(f"[done, value] was expected, got {str(other)[:60]!r}")
        except (EOFError, OSError) as error:
            reason = self._reason(method, late=expired.is_set())
            self.close()
            raise PluginError(reason) from error
        except ValueError as error:
            self.close()
            raise PluginError(f"its process sent no answer, and was ended: {error}") from error
        except BaseException:
            # After an interrupt, the pending answer would be taken for the next call's.
            self.close()
            raise
        finally:
            timer.cancel()
        if expired.is_set() or (not done and method == "open"):
            self.close()
        if not done:
            raise PluginError(str(value))
        return value

    def _reason(self, method: str, *, late: bool) -> str:
        """Why no answer came."""
        if late:
            verb = "opened" if method == "open" else "answered"
            return (
                f"it has not {verb} within {self.timeout_s:g} s, and its process was ended "
                "(timeout_s sets the limit)"
            )
        with contextlib.suppress(subprocess.TimeoutExpired):  # it closed its output, but lives
            self._process.wait(5)
        status = self._process.poll() or 0
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return f"it crashed ({how}); the next call starts it afresh"


def send(file: BinaryIO, message: Any) -> None:
    """Write a message: what JSON can hold (tuples become lists), bytes, and float arrays."""
    behind: list[bytes] = []

    def outside(value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
        array = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value
        behind.append(array.tobytes())
        kind = "bytes" if isinstance(value, bytes) else str(array.dtype)
        return {"array of": kind, "shape": array.shape}

    text = json.dumps(message, default=outside).encode()
    file.write(struct.pack("<I", len(text)) + text)
    for content in behind:
        file.write(content)
    file.flush()


def receive(file: BinaryIO) -> Any:
    """A message of `send`; EOFError where it ends early, ValueError where it is none."""

    def inside(found: dict[str, Any]) -> Any:
        if found.keys() != {"array of", "shape"}:
            return found
        kind, shape = found["array of"], found["shape"]
        dtype = _DTYPES["uint8" if kind == "bytes" else kind]
        size = math.prod(shape) * dtype.itemsize
        if not all(type(n) is int and n >= 0 for n in shape) or size > _LARGEST_ARRAY:
            raise ValueError(f"an array of shape {shape}")
        content = _exactly(file, size)
        return (
            content if kind == "bytes" else np.frombuffer(bytearray(content), dtype).reshape(shape)
        )

    (size,) = struct.unpack("<I", _exactly(file, 4))
    if size > _LONGEST_TEXT:
        raise ValueError(f"a text of {size} bytes")
    try:
        return json.loads(_exactly(file, size), object_hook=inside)
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _exactly(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise EOFError(f"{size} bytes were expected, got {len(content)}")
    return content


def _expire(process: subprocess.Popen, expired: threading.Event) -> None:
    expired.set()
    process.kill()


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    process.stdout.close()
    with contextlib.suppress(OSError):  # it may hold a request that nobody will read
        process.stdin.close()


def _make(engine: str, where: str) -> Any:
    module, _, name = engine.partition(":")
    return getattr(importlib.import_module(module), name)(where)


def _ask(engine: Any, method: str, arguments: tuple[Any, ...]) -> Any:
    found = getattr(engine, method)
    return found(*arguments) if callable(found) else found


def serve() -> None:
    """The worker's side: answer until the caller is gone. Plug-ins print, so output is silenced."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    engine = None
    while True:
        try:
            method, arguments = receive(requests)
        except EOFError:
            os._exit(0)  # a plug-in may hang when it is taken down
        try:
            if method == "open":
                engine, reply = _make(*arguments), (True, None)
            else:
                reply = True, _ask(engine, method, arguments)
        except Exception as error:  # noqa: BLE001 - a foreign engine may raise anything
            reply = False, f"{type(error).__name__}: {error}"
        send(replies, reply)
