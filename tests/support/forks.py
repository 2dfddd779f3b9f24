"""The command line in a process of its own that need not import everything again: a server imports once, and forks for each
command. For tests whose subject is what a command does, and not how a Python with edgec starts: the locale, closed streams and
what libraries read when they are loaded (`OMP_NUM_THREADS`) are the server's.

The modules of `edgec.cli` are imported by the forked process itself, because they look at the environment when they are.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.commands import SECONDS, environment

_ROOT = Path(__file__).resolve().parents[2]
_LONGEST = 1 << 20


class Forks:
    """A server, as long as it is entered, that has imported these modules."""

    def __init__(self, *modules: str) -> None:
        self._modules = modules

    def __enter__(self) -> Forks:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(SECONDS)
        with theirs:
            number = theirs.fileno()
            program = f"from tests.support.forks import serve; serve({number}, {list(self._modules)!r})"
            paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
            self._server = subprocess.Popen([sys.executable, "-c", program], env=environment(PYTHONPATH=paths), pass_fds=[number])
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._server.wait(SECONDS)

    def run(
        self,
        *arguments: str | Path,
        cwd: Path,
        env: Mapping[str, str],
        most_data_bytes: int | None = None,
        stdout: int | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """The command's exit code, negative for a signal, standard output and standard error. `env` is all that it has for an
        environment; `stdout` is a file descriptor to write to instead; `most_data_bytes` limits its memory (RLIMIT_DATA)."""
        given = [str(each) for each in arguments]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open("rb") as nothing:
            job = {"arguments": given, "cwd": str(cwd), "env": dict(env), "most_data_bytes": most_data_bytes}
            streams = [nothing.fileno(), out.fileno() if stdout is None else stdout, err.fileno()]
            socket.send_fds(self._socket, [json.dumps(job).encode()], streams)
            code = json.loads(self._socket.recv(_LONGEST))
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(given, code, out.read(), err.read())


def serve(number: int, modules: Sequence[str]) -> None:
    """Answers each job with an exit code, until the socket of this number is closed at the other end."""
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=number) as requests:
        while True:
            message, streams, _, _ = socket.recv_fds(requests, _LONGEST, 3)
            if not message:
                return
            child = os.fork()
            if child == 0:
                requests.close()
                os._exit(_run(json.loads(message), streams))
            for stream in streams:
                os.close(stream)
            _, status = os.waitpid(child, 0)
            requests.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())


def _run(job: Mapping[str, Any], streams: Sequence[int]) -> int:
    """As `python -m edgec` does it, and Python as it exits."""
    code = 1
    try:
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
            os.close(stream)
        sys.stdin, sys.stdout = open(0), open(1, "w", closefd=False)  # noqa: SIM115 - until the process ends
        sys.stderr = open(2, "w", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
        os.chdir(job["cwd"])
        os.environ.clear()
        os.environ.update(job["env"])
        sys.argv = ["edgec", *job["arguments"]]
        if job["most_data_bytes"] is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (job["most_data_bytes"],) * 2)
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
