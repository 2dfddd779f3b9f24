"""From an artefact to a bundle: copy, say what it is, sign, check what was signed, write one file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgec.artefact.reading import OpenArtefact, open_artefact
from edgec.artefact.statements import REPORT, check_report
from edgec.bundle.keys import Signer, trust_of
from edgec.bundle.ota.packer import Payload, Wish
from edgec.bundle.release import Naming, licence_texts, release_json, release_of
from edgec.bundle.sbom import sbom_json
from edgec.bundle.signing import sign_measurement, sign_release
from edgec.bundle.trusting import as_edgec_errors, trusted
from edgec.durable import copy_hashed, disk_is_full, publish, scratch, sha256_of, sweep
from edgec.errors import ArtefactError, EdgecError, RequestError
from edgec.onboard.container import MEASURED, RELEASE, SBOM, SUFFIX, Folder, write_bundle
from edgec.onboard.openssl import Trust
from edgec.onboard.trust import SCHEMA_VERSION, Policy, Verified, check
from edgec.records.consistency import read_report
from edgec.records.manifest import MANIFEST
from edgec.records.report import Report
from edgec.untrusted import Refused


@dataclass(frozen=True)
class Made:
    """A bundle that was written, and what a check of it said before. `beside` are the files for OTA tools."""

    path: Path
    size_bytes: int
    verified: Verified
    beside: tuple[Path, ...] = ()


def make_bundle(
    artefact: Path,
    output: Path,
    signer: Signer,
    *,
    naming: Naming | None = None,
    licence: Path | None = None,
    by: str = "",
    wishes: Sequence[Wish] = (),
    force: bool = False,
) -> Made:
    """Write the artefact as a signed bundle at `output`. `licence` is a text that the artefact lacks, `by` says in words who
    measured the report. `wishes` are forms for OTA tools, which are written beside it: all or none.

    Raises `RequestError` for a name, a key or a certificate that cannot be used; `ArtefactError` for an artefact that is damaged,
    lacks its report or a licence's text, or a place that is taken; `MissingPackage` if an OTA tool's program is not here.
    """
    _check_place(output, force)
    for wish in wishes:
        _check_free(wish.place(output), force)
        wish.check()
    release = release_of(output, naming or Naming())
    trust = trust_of(signer)
    opened = open_artefact(artefact)
    report = check_report(opened.manifest, opened.directory)
    if report is None:
        raise ArtefactError(
            f"The artefact at {artefact} has no report: an older edgec wrote it.", remedy="build it again with this edgec"
        )
    manifest_sha256 = sha256_of(opened.directory / MANIFEST)
    texts, licences = licence_texts(opened.directory, opened.manifest, licence)

    def fill(stage: Path) -> None:
        _copy_artefact(opened, manifest_sha256, report, stage)
        for path, text in texts.items():
            _write(stage / path, text)
        _write(stage / RELEASE, release_json(release, opened.manifest, licences).encode())
        _write(stage / SBOM, sbom_json(release, opened.manifest, opened.directory, licences).encode())
        _write_measurement(stage, manifest_sha256, report, by)
        sign_release(stage, signer)
        sign_measurement(stage, signer)

    return _write_stage(output, f"{release.name}-{release.version}", fill, trust, wishes=wishes)


def replace_report(
    bundle: Path, report_path: Path, output: Path, signer: Signer, trust: Trust, *, by: str = "", force: bool = False
) -> Made:
    """Write the bundle again with a newer measurement of the same artefact: a report.json that is about its manifest. `trust` is
    whose release it must be, `signer` signs the measurement alone.

    Raises `Untrusted` for a bundle that is not whole, `ArtefactError` for a report of another artefact, or one that is older.
    """
    _check_place(output, force)
    report = read_report(report_path)
    both = trust_of(signer)
    with trusted(bundle, Policy(trust, both)) as (place, verified):
        opened = open_artefact(place)
        manifest_sha256 = sha256_of(place / MANIFEST)
        if report.created < verified.measurement.created:
            raise ArtefactError(
                f"The report at {report_path} is older than the bundle's.",
                evidence=(f"it is of {report.created}", f"the bundle's is of {verified.measurement.created}"),
                remedy="measure again: edgec bench ARTEFACT",
            )

        def fill(stage: Path) -> None:
            # Not the modes: a bundle has its own.
            shutil.copytree(place, stage, dirs_exist_ok=True, copy_function=shutil.copyfile)
            for path in list(stage.glob("report*")):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            _write(stage / REPORT, report.model_copy(update={"files": ()}).to_json().encode())
            check_report(opened.manifest, stage)
            _write_measurement(stage, manifest_sha256, report, by)
            sign_measurement(stage, signer)

        return _write_stage(output, f"{verified.release.name}-{verified.release.version}", fill, trust, both)


def _write_stage(
    output: Path,
    name: str,
    fill: Callable[[Path], None],
    trust: Trust,
    measurers: Trust | None = None,
    wishes: Sequence[Wish] = (),
) -> Made:
    """Fill a folder, check it as whoever gets it will, and write it as a bundle. The folder's name is in the statement."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        sweep(output.parent)
    except OSError as error:
        raise ArtefactError(f"{output} cannot be written.", evidence=str(error), remedy="choose another path with -o") from error
    with scratch(output.parent) as work:
        stage, file = work / name, work / output.name
        stage.mkdir()
        try:
            fill(stage)
            with as_edgec_errors(), Folder(stage) as source:
                # It may be expired already, which is for whoever gets it to refuse.
                verified = check(source, stage, Policy(trust, measurers or Trust(), now=0.0))
            with file.open("wb") as writing:
                write_bundle(stage, writing)
            made = [wish.pack(Payload(file, verified.release), output, work) for wish in wishes]
        except Refused as error:
            raise ArtefactError(f"The artefact cannot be written as one file: it {error}.") from error
        except Exception as error:
            if not isinstance(error, EdgecError) and disk_is_full(error, work):
                raise EdgecError(
                    f"The disk is full: {output} was not written.", evidence=str(error), remedy="free some space"
                ) from error
            raise
        size = file.stat().st_size
        beside = tuple(wish.place(output) for wish in wishes)
        for path, place in zip(made, beside, strict=True):
            publish(path, place)
        publish(file, output)
    return Made(output, size, verified, beside)


def _copy_artefact(opened: OpenArtefact, manifest_sha256: str, report: Report, stage: Path) -> None:
    """What the manifest and the report list, hashed again as it is copied, and these two."""
    listed = {file.path: file.sha256 for file in opened.manifest.files} | {file.path: file.sha256 for file in report.files}
    for path, expected in {**listed, MANIFEST: manifest_sha256, REPORT: ""}.items():
        (stage / path).parent.mkdir(parents=True, exist_ok=True)
        actual = copy_hashed(opened.directory / path, stage / path)
        if expected and actual != expected:
            raise ArtefactError(f"{path} in {opened.directory} changed while it was copied.", remedy="run the command again")


def _write_measurement(stage: Path, manifest_sha256: str, report: Report, by: str) -> None:
    document = {
        "schema_version": SCHEMA_VERSION,
        "artefact_sha256": manifest_sha256,
        "by": by or f"edgec {report.edgec_version} on {report.host.cpu}",
        "created": report.created,
    }
    _write(stage / MEASURED, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def _check_place(output: Path, force: bool) -> None:
    if not output.name.endswith(SUFFIX):
        raise RequestError(f"A bundle is called NAME-VERSION{SUFFIX}.", evidence=f"{output.name!r} was given")
    _check_free(output, force)


def _check_free(output: Path, force: bool) -> None:
    if output.is_dir() or (os.path.lexists(output) and not force):
        raise ArtefactError(
            f"{output} exists already.",
            remedy="choose another path with -o" + ("" if output.is_dir() else ", or replace it with --force"),
        )
