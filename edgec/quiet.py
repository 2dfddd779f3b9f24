"""No library that edgec uses sends telemetry, or leaves files in the user's folders.

`stop_telemetry` runs when `edgec` is imported. Every process that edgec starts imports it first, so this holds in all of them. A
program that only imports edgec is not changed in any other way. `keep_together` does more, in the command line's own processes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from edgec.errors import EdgecError

_TELEMETRY_OFF = {
    # Importing ONNX Runtime 1.32 puts a device identifier and a database into the user's cache folder, to report its use.
    "ORT_DISABLE_TELEMETRY": "1",
    # huggingface_hub, which transformers and timm import, sends telemetry with each request.
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
_NO_NETWORK = {
    # A convention that several packages follow.
    "DO_NOT_TRACK": "1",
    # Files must be on this machine: no library may ask a hub whether there are newer ones.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
_OPENVINO = "openvino_telemetry"
_INDUCTOR = "TORCHINDUCTOR_CACHE_DIR"


def stop_telemetry() -> None:
    """Turn off telemetry in libraries, unless the environment says otherwise: variables that are set already are kept.

    Importing OpenVINO, or NNCF, creates a client identifier in `~/intel` and posts an event with it. Only the variables of
    continuous integration turn that off, and the file that refuses consent would lie in the user's home. Both packages work
    without `openvino_telemetry`, and None in `sys.modules` is how Python is told that a module is not installed.
    """
    for name, value in _TELEMETRY_OFF.items():
        os.environ.setdefault(name, value)
    sys.modules.setdefault(_OPENVINO, None)  # type: ignore[arg-type] # the language's own way to say "not there"


def keep_together() -> None:
    """For edgec's own processes and those that they start: no network for models' libraries, and one cache folder."""
    from edgec.cache import cache_root

    for name, value in _NO_NETWORK.items():
        os.environ.setdefault(name, value)
    with suppress(EdgecError):  # the command that needs the folder reports what is wrong with it
        # Matplotlib's list of fonts. It would also make a folder for settings in the user's home.
        os.environ.setdefault("MPLCONFIGDIR", str(cache_root() / "matplotlib"))


@contextmanager
def inductor_folder_goes() -> Iterator[None]:
    """Use around code that exports a model, or imports a library that may compile one. `torch._dynamo` creates a folder for
    compiled code, when it is imported and again when it traces, in the machine's folder for temporary files. edgec compiles
    nothing, so here that folder is a temporary one; other code in this process that compiles keeps its own folder."""
    if _INDUCTOR in os.environ:
        yield
        return
    import tempfile  # every process imports this module, but few call this function

    with tempfile.TemporaryDirectory(prefix="edgec-", ignore_cleanup_errors=True) as folder:
        os.environ[_INDUCTOR] = folder
        try:
            yield
        finally:
            os.environ.pop(_INDUCTOR, None)
