"""A small artefact with a real model and a device program, keys, and bundles that `model-signing` signs and `openssl` checks."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("model_signing", reason="edgec[bundle] is not installed")
pytest.importorskip("cyclonedx", reason="edgec[bundle] is not installed")

from edgec.artefact.write import write_artefact
from edgec.bundle.keys import Signer, generate
from edgec.bundle.packing import make_bundle
from edgec.bundle.trusting import trust_in
from edgec.onboard.container import NOT_IN_RELEASE, SIGNATURE, Bundle
from edgec.onboard.openssl import Trust
from tests.artefact.conftest import fill
from tests.support import forging

PROGRAM = "device/program.pyz"


@dataclass(frozen=True)
class Key:
    """A key pair, made by `edgec keygen`'s function."""

    private: Path
    public: Path

    @property
    def signer(self) -> Signer:
        return Signer(self.private)

    @property
    def trust(self) -> Trust:
        return trust_in([self.public])


def new_key(folder: Path, name: str) -> Key:
    return Key(folder / name, generate(folder / name))


def fill_with_program(folder: Path) -> None:
    fill(folder)
    (folder / PROGRAM).parent.mkdir()
    (folder / PROGRAM).write_bytes(b"#!/usr/bin/env python3\nprint('a program')\n")
    forging.list_again(folder)


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return new_key(tmp_path_factory.mktemp("keys"), "release")


@pytest.fixture(scope="session")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return new_key(tmp_path_factory.mktemp("keys"), "laboratory")


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefact, which no test changes."""
    return write_artefact(tmp_path_factory.mktemp("artefact") / "whole", fill_with_program, force=False)


@pytest.fixture
def artefact(whole: Path, tmp_path: Path) -> Path:
    """A copy of one's own."""
    return Path(shutil.copytree(whole, tmp_path / "artefact"))


@pytest.fixture(scope="session")
def bundle(whole: Path, key: Key, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefact as a release, which no test changes."""
    return make_bundle(whole, tmp_path_factory.mktemp("bundle") / "robot-1.4.0.edgec-bundle", key.signer).path


@pytest.fixture
def unpacked(bundle: Path, tmp_path: Path) -> Path:
    """What is in the bundle, as files to be tampered with."""
    return extract(bundle, tmp_path / "unpacked")


def extract(bundle: Path, folder: Path) -> Path:
    """Write what a bundle holds, unchecked."""
    with Bundle(bundle) as source:
        for path in source.sizes:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(b"".join(source.blocks(path)))
    return folder


def model_signing_accepts(folder: Path, public: Path, name: str = SIGNATURE) -> bool:
    """Whether `model-signing` itself verifies a signature of the folder. Git's files count, as they do for edgec."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from model_signing import hashing, verifying

        config = verifying.Config().use_elliptic_key_verifier(public_key=public)
        ignored = [Path(path) for path in NOT_IN_RELEASE] if name == SIGNATURE else []
        config.set_hashing_config(hashing.Config().set_ignored_paths(paths=ignored, ignore_git_paths=False))
        try:
            config.verify(folder, folder / name)
        except Exception:
            # It lets errors of its libraries through: of JSON, Base64, protobuf, cryptography.
            return False
        return True
