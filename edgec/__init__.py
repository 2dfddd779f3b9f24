"""edgec compiles distilled DINOv3 checkpoints into artefacts that a robot can run, and proves that their features survived.

    import edgec

    built = edgec.build("model.safetensors", target="cpu", calibration="frames/")
    edgec.verify(built.directory)
    print(edgec.bench(built.directory).latency.p50_ms)

Importing it loads neither torch nor a runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgec.quiet import stop_telemetry

__version__ = "0.1.0"

stop_telemetry()
del stop_telemetry

if TYPE_CHECKING:
    from edgec.api import bench, build, compare, features, open_artefact, verify
    from edgec.errors import ArtefactError, EdgecError, FidelityError, RequestError, TargetError, VerificationError
    from edgec.featuring import FrameFeatures
    from edgec.model.spec import Size
    from edgec.request import BuildRequest

__all__ = [
    "ArtefactError",
    "BuildRequest",
    "EdgecError",
    "FidelityError",
    "FrameFeatures",
    "RequestError",
    "Size",
    "TargetError",
    "VerificationError",
    "__version__",
    "bench",
    "build",
    "compare",
    "features",
    "open_artefact",
    "verify",
]
_MODULES = {"BuildRequest": "edgec.request", "FrameFeatures": "edgec.featuring", "Size": "edgec.model.spec"}


def __getattr__(name: str) -> Any:
    """On first use: a command line that only prints its help must not wait for the compiler."""
    if name not in __all__:
        raise AttributeError(f"module 'edgec' has no attribute {name!r}")
    default = "edgec.errors" if name.endswith("Error") else "edgec.api"
    value = getattr(import_module(_MODULES.get(name, default)), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
