"""The command line in a process of its own that need not import everything again: a server imports once, and forks for each
command. For tests whose subject is what a command does, and not how a Python with edgec starts: the locale, closed streams and
what libraries read when they are loaded (`OMP_NUM_THREADS`) are the server's.

The modules of `edgec.cli` are imported by the forked process itself, because they look at the environment when they are.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import resource
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.commands import SECONDS, environment

_ROOT = Path(__file__).resolve().parents[2]
_LONGEST = 1 << 20
_LONGEST_PLACE = 100
"""A socket's path may have little more (unix(7))."""


class Forks:
    """A server, as long as it is entered, that has imported these modules, and is `ready` to build if asked to be
    (`tests.support.ready`). It is no child of this process: tests look at, and kill, what children there are. Processes that name
    the same `place`, a path for its socket, share one."""

    def __init__(
        self, *modules: str, ready: bool = False, env: Mapping[str, str] | None = None, place: Path | None = None
    ) -> None:
        self._modules, self._ready, self._env = modules, ready, dict(env or {})
        if place is not None and len(os.fsencode(place)) > _LONGEST_PLACE:
            place = None
        self._own = None if place else tempfile.TemporaryDirectory(prefix="forks-")
        self._place = place or Path(self._own.name if self._own else "", "socket")

    def __enter__(self) -> Forks:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(SECONDS)
        with self._place.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                self._socket.connect(str(self._place))
            except OSError:  # not there yet, or not any more
                self._place.unlink(missing_ok=True)
                self._serve()
                self._socket.connect(str(self._place))
        return self

    def _serve(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind(str(self._place))
            listening.listen()
            number = listening.fileno()
            served = f"serve({number}, {list(self._modules)!r}, ready={self._ready})"
            program = f"import os\nif os.fork() == 0:\n os.setsid()\n from tests.support.forks import serve\n {served}"
            paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
            env = environment(**{**self._env, "PYTHONPATH": paths})
            subprocess.run([sys.executable, "-c", program], env=env, pass_fds=[number], check=True)

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        if self._own is not None:
            self._own.cleanup()

    def start(
        self,
        *arguments: str | Path,
        cwd: Path,
        env: Mapping[str, str],
        stdout: int,
        stderr: int,
        stdin: int | None = None,
        most_data_bytes: int | None = None,
        code: str = "",
    ) -> Fork:
        """`edgec` with these arguments, or instead this Python `code` with them in `sys.argv`. `env` is all that it has for an
        environment. The streams are file descriptors; without `stdin` it has nothing to read. `most_data_bytes` limits its memory
        (RLIMIT_DATA). It leads a session of its own, and hears Ctrl-C."""
        given = [str(each) for each in arguments]
        job = {"do": "start", "arguments": given, "cwd": str(cwd), "env": dict(env), "code": code}
        with Path(os.devnull).open("rb") as nothing:
            streams = [nothing.fileno() if stdin is None else stdin, stdout, stderr]
            pid, [ends] = self._ask({**job, "most_data_bytes": most_data_bytes}, streams)
        return Fork(self, pid, ends)

    def run(
        self,
        *arguments: str | Path,
        cwd: Path,
        env: Mapping[str, str],
        most_data_bytes: int | None = None,
        stdout: int | None = None,
        code: str = "",
    ) -> subprocess.CompletedProcess[bytes]:
        """The exit code, negative for a signal, standard output and standard error of what `start` starts; `stdout` is a file
        descriptor to write to instead."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            where = out.fileno() if stdout is None else stdout
            fork = self.start(
                *arguments, cwd=cwd, env=env, stdout=where, stderr=err.fileno(), most_data_bytes=most_data_bytes, code=code
            )
            ended = fork.wait()
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess([str(each) for each in arguments], ended, out.read(), err.read())

    def edgec(
        self, *arguments: str | Path, cwd: Path, cache: Path | None = None, env: Mapping[str, str] | None = None, code: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """As `tests.support.commands.edgec`, or `python` if there is `code`."""
        done = self.run(*arguments, cwd=cwd, env=environment(cache) | dict(env or {}), code=code)
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def _ask(self, job: Mapping[str, Any], streams: Sequence[int] = ()) -> tuple[int, list[int]]:
        socket.send_fds(self._socket, [json.dumps(job).encode()], streams)
        answer, descriptors, _, _ = socket.recv_fds(self._socket, _LONGEST, 1)
        return json.loads(answer), descriptors


@dataclass
class Fork:
    """A process that a server has forked."""

    _forks: Forks
    pid: int
    _ends: int
    """A descriptor that can be read once it has ended."""
    code: int | None = None

    def wait(self, seconds: float | None = SECONDS) -> int | None:
        """Its exit code, negative for a signal; None if it still runs after so many seconds."""
        if self.code is None and select.select([self._ends], [], [], seconds)[0]:
            os.close(self._ends)
            self.code, _ = self._forks._ask({"do": "reap", "pid": self.pid})
        return self.code

    def poll(self) -> int | None:
        """Its exit code; None as long as it runs."""
        return self.wait(0)


def serve(number: int, modules: Sequence[str], *, ready: bool) -> None:
    """Answers the jobs of all who connect to the listening socket of this number, until the last of them has gone."""
    for module in modules:
        importlib.import_module(module)
    if ready:
        from tests.support.ready import ready_to_build

        ready_to_build()
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=number) as listening, selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        clients: set[socket.socket] = {listening.accept()[0]}
        selector.register(next(iter(clients)), selectors.EVENT_READ)
        while clients:
            for key, _ in selector.select():
                if key.fileobj is listening:
                    client, _ = listening.accept()
                    clients.add(client)
                    selector.register(client, selectors.EVENT_READ)
                    continue
                client = key.fileobj
                message, streams, _, _ = socket.recv_fds(client, _LONGEST, 3)
                if message:
                    _answer(client, json.loads(message), streams)
                else:
                    selector.unregister(client)
                    clients.remove(client)
                    client.close()


def _answer(client: socket.socket, job: Mapping[str, Any], streams: Sequence[int]) -> None:
    if job["do"] == "reap":
        _, status = os.waitpid(job["pid"], 0)
        client.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())
        return
    child = os.fork()
    if child == 0:
        os._exit(_run(job, streams))
    for stream in streams:
        os.close(stream)
    ends = os.pidfd_open(child)
    socket.send_fds(client, [json.dumps(child).encode()], [ends])
    os.close(ends)


def _run(job: Mapping[str, Any], streams: Sequence[int]) -> int:
    """As `python -m edgec` does it, and Python as it exits."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
            os.close(stream)
        sys.stdin, sys.stdout = open(0), open(1, "w", closefd=False)  # noqa: SIM115 - until the process ends
        sys.stderr = open(2, "w", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
        os.chdir(job["cwd"])
        os.environ.clear()
        os.environ.update(job["env"])
        tempfile.tempdir = None
        sys.argv = ["-c" if job["code"] else "edgec", *job["arguments"]]
        if job["most_data_bytes"] is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (job["most_data_bytes"],) * 2)
        if job["code"]:
            exec(job["code"], {"__name__": "__main__"})
            code = 0
        else:
            from edgec.cli import main

            main(job["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    try:
        sys.stdout.flush()
    except OSError:
        code = 120
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    return code


def forks_of(*modules: str) -> Iterator[Forks]:
    """For fixtures."""
    with Forks(*modules) as forks:
        yield forks
