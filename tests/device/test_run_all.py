"""What a robot with a sound bundle and a sound trtexec ends up with, for every TensorRT that the program knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgec.backends.program import BUNDLE
from edgec.durable import sha256_of
from edgec.records.manifest import MANIFEST
from edgec.records.report import SCHEMA_VERSION
from tests.device.robot import Robot, check_whole

VERSIONS = ("8.6.2", "10.3.0", "10.13.3", "10.16.2", "11.0.0", "11.1.0")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_of_trtexec_takes_the_flags(robot: Robot, version: str) -> None:
    done = robot.run("run-all", STANDIN_TENSORRT=version)
    assert done.code == 0, done
    assert done.of("problem") == []
    assert robot.current is not None
    check_whole(robot)
    facts, bench = robot.record(robot.current, "engine"), robot.record(robot.current, "bench")
    assert facts["tensorrt"] == version
    typed = {"--stronglyTyped"} & set(facts["flags"])
    weak = {"--fp16", "--int8"} & set(facts["flags"])
    assert (len(typed), len(weak)) == {"8": (0, 2), "10": (1, 0), "11": (0, 0)}[version.split(".")[0]]
    assert ("--includeDataTransfers" in bench["flags"]) == version.startswith("11")
    # Copying in and out is part of every figure, whatever the version's default.
    assert bench["min_ms"] > 2 * 0.98 + 0.09


def test_weakly_typed_networks_get_the_layers_that_stay_in_float32(robot: Robot) -> None:
    assert robot.run("run-all", STANDIN_TENSORRT="8.6.2").code == 0
    (folder,) = (robot.home / "engines").glob("fp16-*")
    flags = robot.record(folder.name, "engine")["flags"]
    (layers,) = (flag.split("=", 1)[1].split(",") for flag in flags if flag.startswith("--layerPrecisions="))
    assert "--precisionConstraints=prefer" in flags
    assert any("norm" in layer for layer in layers), layers
    assert all(layer.endswith(":fp32") for layer in layers)


def test_the_report_is_one_of_edgec_s(robot: Robot) -> None:
    done = robot.run("run-all")
    report = robot.report()
    assert report.chosen == "int8"
    assert report.target == "jetson"
    assert [candidate.name for candidate in report.candidates] == ["int8", "fp16", "fp32"]
    int8, fp16, fp32 = report.candidates
    assert int8.latency is not None
    assert fp16.latency is not None
    assert int8.latency.p50_ms < fp16.latency.p50_ms
    assert len(int8.latency.samples_ms) == int8.latency.iterations >= 20
    assert int8.latency.warmup > 0
    for latency in (int8.latency, fp16.latency):
        assert [block.round for block in latency.blocks] == [0, 1]
        assert sum(block.runs for block in latency.blocks) == latency.iterations
    assert report.schema_version == SCHEMA_VERSION
    assert not (robot.home / "report.json").exists(), "a board writes none"
    assert report.artefact_sha256 is None, "this bundle lies in no artefact"
    assert int8.fidelity is not None
    assert 0.9 < int8.fidelity.patch_cosine_p01 < 0.99999
    assert (fp32.latency, fp32.fidelity, fp32.size_bytes) == (None, None, None)
    notes = " ".join(report.notes)
    for fact in ("Power mode 15W", "VDD_IN 6.0 W", "gpu-thermal 51.2", "--useCudaGraph", "--exposeDMA", "jetson_clocks is off"):
        assert fact in notes, notes
    assert "NC" not in notes
    assert done.of("measured")[0]["path"] == str(robot.measurements)
    details = json.loads(robot.measurements.read_text())["details"]
    assert details["facts"]["jetpack"] == "6.2"
    assert "tensorrt" not in details["facts"]["packages"]
    assert details["engines"][0]["bench"]["rounds"][0]["power_mw"]["VDD_SOC"]["mean"] == 1248.0


def test_the_report_names_its_artefact_and_the_rounds(robot: Robot, own_bundle: Path) -> None:
    robot.bundle = own_bundle
    listed = [{"path": BUNDLE, "sha256": sha256_of(own_bundle / BUNDLE)}]
    (own_bundle / MANIFEST).write_text(json.dumps({"files": listed}))
    assert robot.run("run-all").code == 0
    assert robot.report().artefact_sha256 == sha256_of(own_bundle / MANIFEST)
    assert robot.run("bench", "--variant", "fp16").code == 0
    assert robot.run("bench").code == 0
    assert robot.run("bench", "--variant", "int8").code == 0
    (own_bundle / MANIFEST).write_text(json.dumps({"files": [{"path": BUNDLE, "sha256": "0" * 64}]}))
    assert robot.run("run-all").code == 0
    report = robot.report()
    assert report.artefact_sha256 is None, "the manifest is another artefact's"
    rounds = [{block.round for block in each.latency.blocks} for each in report.candidates if each.latency]
    assert len(rounds) == 2
    assert not rounds[0] & rounds[1], "int8 was measured anew, and not in turns with fp16"


def test_int8_must_pay_on_the_board(robot: Robot) -> None:
    done = robot.run("run-all", STANDIN_LATENCY="int8=4,fp16=3")
    assert done.code == 0
    assert robot.current is not None
    assert robot.current.startswith("fp16-")
    assert "fp16 is the fastest" in done.of("done", step="activate")[0]["reason"]


def test_again_does_nothing(robot: Robot) -> None:
    robot.run("run-all")
    times = {
        path: path.stat().st_mtime_ns for path in robot.home.rglob("*") if "engines" in path.parts or "releases" in path.parts
    }
    again = robot.run("run-all", faults="crash,garbage,crash-run")
    assert again.code == 0
    assert {event["result"] for event in again.of("done")} <= {"ready", "unchanged"}
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_steps_one_by_one_and_what_they_require(robot: Robot) -> None:
    for command, code in (("build", 8), ("verify", 8), ("activate", 14), ("rollback", 14), ("bench", 8)):
        done = robot.run(command)
        assert done.code == code, (command, done)
        assert done.error["remedy"] or command == "rollback"
    for command in ("preflight", "install", "build", "verify"):
        assert robot.run(command).code == 0, command
    assert robot.run("activate").code == 14
    assert robot.run("bench", "--seconds", "0.05", "--iterations", "20").code == 0
    assert robot.run("activate").code == 0
    assert robot.current is not None
    # `build` alone makes every variant; `run-all` leaves out the last resort.
    assert {path.name.split("-")[0] for path in (robot.home / "engines").iterdir()} == {"int8", "fp16", "fp32"}


def test_rollback_and_back(robot: Robot) -> None:
    robot.run("run-all")
    first = robot.current
    assert robot.run("rollback").code == 14
    assert robot.current == first
    assert robot.run("activate", "--variant", "fp16").code == 0
    second = robot.current
    assert first != second
    assert robot.run("rollback").code == 0
    assert robot.current == first
    assert robot.run("rollback").code == 14
    assert robot.run("activate", "--variant", "fp16").code == 0
    assert robot.run("rollback").code == 0
    assert robot.current == first


def test_rollback_refuses_an_engine_that_would_not_run(robot: Robot) -> None:
    robot.run("run-all")
    first = robot.current
    robot.run("activate", "--variant", "fp16")
    second = robot.current
    newer = robot.run("rollback", STANDIN_TENSORRT="10.16.2")
    assert newer.code == 14
    assert "10.3.0" in " ".join(newer.error["evidence"])
    with (robot.home / "engines" / str(first) / "engine.plan").open("ab") as file:
        file.write(b"x")
    assert robot.run("rollback").code == 14
    assert robot.current == second


def test_status_shows_what_is_active_and_why(robot: Robot) -> None:
    assert robot.run("status").of("status")[0]["current"] is None
    robot.run("run-all", faults="garbage@int8")
    (status,) = robot.run("status").of("status")
    assert status["current"]["variant"] == "fp16"
    assert "int8" in status["problems"]
    assert "golden features" in status["problems"]["int8"]["what"]
    code, out, error = robot.say("status")
    assert (code, error) == (0, "")
    assert "FAILED" in out
    assert "patch_cosine_mean" in out


def test_people_read_it_at_80_columns(robot: Robot) -> None:
    for command in ("run-all", "status"):
        code, out, error = robot.say(command)
        assert (code, error) == (0, "")
        for line in out.splitlines():
            assert len(line) <= 80 or len(line.split()) <= 2, line


def test_a_new_jetpack_gets_new_engines(robot: Robot) -> None:
    robot.run("run-all")
    old = robot.current
    assert robot.run("run-all", STANDIN_TENSORRT="10.16.2").code == 0
    new = robot.current
    assert old != new
    assert new is not None
    assert robot.record(new, "engine")["tensorrt"] == "10.16.2"
    assert len(list((robot.home / "timing-caches").iterdir())) == 2
    (status,) = robot.run("status").of("status")
    assert old == status["previous"]["engine"]


def test_a_damaged_timing_cache_only_costs_time(robot: Robot) -> None:
    robot.run("build")
    robot.run("install")
    robot.run("build")
    (cache,) = (robot.home / "timing-caches").iterdir()
    cache.write_bytes(b"\0" * 100)
    (engine,) = (robot.home / "engines").glob("int8-*")
    (engine / "engine.plan").write_bytes(b"gone bad")
    done = robot.run("build")
    assert done.code == 0
    assert done.of("done", variant="int8")[0]["result"] == "built"
    assert any("timing cache" in event["line"] for event in done.of("log"))
    check_whole(robot)


def test_a_batch_is_filled_up(robot: Robot, own_bundle: Path) -> None:
    """Three frames in batches of two cannot be had from a graph of batch one; but one in a batch of one can, and twice."""
    document = json.loads((own_bundle / "device" / "bundle.json").read_text())
    assert document["input"]["shape"][0] == 1
    robot.bundle = own_bundle
    assert robot.run("run-all").code == 0
    assert robot.current is not None
    assert robot.record(robot.current, "verify")["frames"] == 2
