"""Nothing that edgec runs calls home, and nothing is left in the user's folders that edgec did not put there itself.

`stop_telemetry` is called when `edgec` is imported, which every process that edgec starts does before anything else, so that it
holds in all of them. Programs that merely import edgec get no more than that. The command's own processes, which are nobody
else's, are also set up by `keep_together`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from edgec.errors import EdgecError

_TELEMETRY_OFF = {
    # Importing ONNX Runtime 1.32 puts a device identifier and a database into the user's cache folder, to tell its makers of
    # what it is used for.
    "ORT_DISABLE_TELEMETRY": "1",
    # What huggingface_hub, which transformers and timm import, tells with each request.
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
_NO_NETWORK = {
    # A convention that several packages heed.
    "DO_NOT_TRACK": "1",
    # Files are on this machine or are refused; no library is to ask a hub whether there are newer ones.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
_OPENVINO = "openvino_telemetry"
_INDUCTOR = "TORCHINDUCTOR_CACHE_DIR"


def stop_telemetry() -> None:
    """A robot tells nobody what it runs, unless its owner says so: what is set in the environment already stays as it is.

    Importing OpenVINO, or NNCF, makes a client identifier in `~/intel` and posts an event under it. No variable turns that off
    but those of continuous integration, and the file that refuses consent would lie in the user's home. Both packages do
    without `openvino_telemetry` where it is not installed, and None in its place is how Python is told that it is not.
    """
    for name, value in _TELEMETRY_OFF.items():
        os.environ.setdefault(name, value)
    sys.modules.setdefault(_OPENVINO, None)  # type: ignore[arg-type] # the language's own way to say "not there"


def keep_together() -> None:
    """For processes that are edgec's own, and those that they start: no network for models' libraries, and one cache folder."""
    from edgec.cache import cache_root

    for name, value in _NO_NETWORK.items():
        os.environ.setdefault(name, value)
    with suppress(EdgecError):  # the command that needs the folder says what is wrong with it
        # Its list of fonts. It would also make a folder for settings in the user's home.
        os.environ.setdefault("MPLCONFIGDIR", str(cache_root() / "matplotlib"))


@contextmanager
def inductor_folder_goes() -> Iterator[None]:
    """Around what exports a model, or imports a library that may compile one: `torch._dynamo` makes the folder for compiled code
    as it is imported, and again as it traces, in the machine's folder for temporary files. Nothing here compiles: it is made
    where it goes away, and what else compiles in this process has its own folder as ever."""
    if _INDUCTOR in os.environ:
        yield
        return
    import tempfile  # every process imports this module, and few come here

    with tempfile.TemporaryDirectory(prefix="edgec-", ignore_cleanup_errors=True) as folder:
        os.environ[_INDUCTOR] = folder
        try:
            yield
        finally:
            os.environ.pop(_INDUCTOR, None)
