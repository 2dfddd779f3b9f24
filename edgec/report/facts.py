"""What a report is about, in words that Markdown and pages share."""

from __future__ import annotations

from edgec.records.report import Host, Report

_MACHINE = {True: "a virtual machine", False: "no virtual machine", None: "virtual machine or not: unknown"}
RANDOM_WEIGHTS = "Random weights: latency is real; fidelity is against the same random model and says nothing of features."


def model_words(report: Report) -> str:
    """Architecture and size."""
    model = report.model
    return f"{model.arch}, {model.parameters / 1e6:.1f} M parameters, {model.gflops:.1f} GFLOPs a frame"


def target_words(report: Report) -> str:
    """The target, and whether figures were measured on one; where nothing was measured, no host is spoken of."""
    if not any(candidate.latency for candidate in report.candidates):
        return f"{report.target}; nothing was measured here"
    suited = "has" if report.host_is_target else "does not have"
    return f"{report.target}; the measuring host {suited} all that its profile asks for"


def judged_words(report: Report) -> str:
    """On what fidelity rests: how many frames, and how many of them calibration knew nearly."""
    frames = f"on {report.validation_frames} frames that it never saw"
    return f"{frames}, of which {report.repeated_frames} nearly repeat calibration frames" if report.repeated_frames else frames


def repeats_line(report: Report) -> str:
    """A sentence to stand beside fidelity where it rests on frames that nearly repeat calibration frames; else empty."""
    if not report.repeated_frames:
        return ""
    return (
        f"{report.repeated_frames} of {report.validation_frames} validation frames nearly repeat calibration frames: this "
        "fidelity says little about other places; give --validation with frames of some"
    )


def input_words(report: Report) -> str:
    """A batch of frames."""
    batch, height, width, _ = report.input_shape
    return f"{batch} frame{'s' if batch > 1 else ''} of {height}x{width}, uint8 RGB"


def host_words(host: Host) -> str:
    """Processor, memory and whatever else decides how fast it is."""
    emulated = "" if host.emulated_on is None else f", emulated on {host.emulated_on}"
    return (
        f"{host.cpu}{emulated} ({host.architecture}; {', '.join(host.isa) or 'no ISA flags known'}), "
        f"{host.physical_cores} physical and {host.logical_cores} logical cores, "
        f"{host.usable_cores} usable, {host.memory_bytes / 1e9:.1f} GB, "
        f"governor {host.governor or 'unknown'}, {_MACHINE[host.virtual_machine]}"
    )


def tool_versions(host: Host) -> str:
    """Of everything but edgec itself."""
    return ", ".join(f"{name} {version}" for name, version in sorted(host.versions.items()) if name != "edgec")


def size_of(report: Report) -> str:
    """Height and width of the frames, as in 480x640."""
    _, height, width, _ = report.input_shape
    return f"{height}x{width}"
