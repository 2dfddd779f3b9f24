"""What is signed as it should be, and refused all the same; and what a signature or a bundle must look like."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from edgec.bundle.packing import make_bundle
from edgec.bundle.release import Naming
from edgec.bundle.signing import sign_release
from edgec.bundle.trusting import verify_signature
from edgec.errors import Outdated, TargetError, Untrusted
from edgec.onboard.container import NOT_IN_RELEASE, RELEASE, SIGNATURE, write_bundle
from edgec.onboard.oms import pae, read_any_form
from edgec.onboard.trust import Policy, seconds_of
from tests.bundle.conftest import Key
from tests.support import forging

SERIAL = 10**12 + 4 * 10**6


def test_what_is_older_is_refused(bundle: Path, key: Key) -> None:
    verify_signature(bundle, Policy(key.trust, least_serial=SERIAL))
    with pytest.raises(Outdated, match="its serial is 1000004000000, and at least 1000004000001") as caught:
        verify_signature(bundle, Policy(key.trust, least_serial=SERIAL + 1))
    assert caught.value.exit_code == 20
    assert caught.value.evidence == ("robot 1.4.0, serial 1000004000000",)


def test_another_product_is_refused(bundle: Path, key: Key) -> None:
    verify_signature(bundle, Policy(key.trust, name="robot"))
    with pytest.raises(Outdated, match="it is robot, and gripper is asked for"):
        verify_signature(bundle, Policy(key.trust, name="gripper"))


def test_what_expired_is_refused(whole: Path, key: Key, tmp_path: Path) -> None:
    naming = Naming(expires="2027-01-31")
    path = make_bundle(whole, tmp_path / "robot-1.edgec-bundle", key.signer, naming=naming).path
    last = seconds_of("2027-01-31T23:59:59Z")
    verify_signature(path, Policy(key.trust, now=last))
    with pytest.raises(Outdated, match="it expired at 2027-01-31T23:59:59Z"):
        verify_signature(path, Policy(key.trust, now=last + 1))


def test_what_expired_already_can_be_made(whole: Path, key: Key, tmp_path: Path) -> None:
    naming = Naming(expires="2020-01-31")
    path = make_bundle(whole, tmp_path / "robot-1.edgec-bundle", key.signer, naming=naming).path
    with pytest.raises(Outdated, match="it expired"):
        verify_signature(path, Policy(key.trust))


@pytest.mark.parametrize(
    "change",
    [
        {"serial": 0},
        {"serial": "7"},
        {"serial": True},
        {"name": ""},
        {"name": "a/b"},
        {"version": None},
        {"expires": "soon"},
        {"expires": "2027-02-30T00:00:00Z"},
        {"schema_version": 2},
    ],
)
def test_a_release_that_says_nothing_is_refused(unpacked: Path, key: Key, change: dict[str, object]) -> None:
    forging.edit(unpacked / RELEASE, lambda release: release.update(change))
    sign_release(unpacked, key.signer)
    with pytest.raises(Untrusted, match=r"has a signed/release\.json that cannot be used"):
        verify_signature(unpacked, Policy(key.trust))


def sign_leaving_out(folder: Path, key: Key, ignored: list[str]) -> None:
    from edgec.bundle.signing import _sign

    _sign(folder, SIGNATURE, ignored, key.signer)


def test_a_signature_that_leaves_out_more_is_refused(unpacked: Path, key: Key) -> None:
    """As one made by hand might."""
    for ignored in ([*NOT_IN_RELEASE, "device"], [*NOT_IN_RELEASE, RELEASE]):
        sign_leaving_out(unpacked, key, ignored)
        with pytest.raises(Untrusted, match="leaves out other files"):
            verify_signature(unpacked, Policy(key.trust))


def test_what_is_signed_are_the_bytes_of_dsse(unpacked: Path) -> None:
    envelope = read_any_form((unpacked / SIGNATURE).read_bytes())
    statement = json.loads(envelope.payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"][0]["name"] == "robot-1.4.0"
    assert pae(envelope.payload).startswith(b"DSSEv1 28 application/vnd.in-toto+json %d {" % len(envelope.payload))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b'{"', b'{ "', 1),
        lambda data: data + b"\n",
        lambda data: json.dumps(json.loads(data), indent=1).encode() + b"\n",
        lambda data: data.replace(b'"keyid":""', b'"keyid":"me"'),
        lambda data: data.replace(b'"mediaType"', b'"more":1,"mediaType"'),
        lambda data: data.replace(b"dsseEnvelope", b"dsse\\u0045nvelope"),
        lambda data: b"[]",
        lambda data: b"{}",
        lambda data: b"",
        lambda data: b"\xff",
    ],
)
def test_a_signature_has_one_form(unpacked: Path, key: Key, change: object) -> None:
    path = unpacked / SIGNATURE
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(Untrusted, match="has a signature that is not accepted"):
        verify_signature(unpacked, Policy(key.trust))


def repacked(bundle: Path, path: Path, change: object) -> Path:
    """The same files in another archive. `change` is given members and contents, and returns those to write."""
    with tarfile.open(bundle) as archive:
        members = [(member, archive.extractfile(member).read()) for member in archive.getmembers()]  # type: ignore[union-attr]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for member, content in change(members):  # type: ignore[operator]
            archive.addfile(member, io.BytesIO(content))
    return path


def with_time(members: list[tuple[tarfile.TarInfo, bytes]]) -> list[tuple[tarfile.TarInfo, bytes]]:
    members[3][0].mtime = 1
    return members


def with_mode(members: list[tuple[tarfile.TarInfo, bytes]]) -> list[tuple[tarfile.TarInfo, bytes]]:
    members[3][0].mode = 0o4755
    return members


def with_folder(members: list[tuple[tarfile.TarInfo, bytes]]) -> list[tuple[tarfile.TarInfo, bytes]]:
    folder = tarfile.TarInfo("device")
    folder.type = tarfile.DIRTYPE
    return [*members, (folder, b"")]


def with_path(name: str) -> object:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> list[tuple[tarfile.TarInfo, bytes]]:
        return [*members, (tarfile.TarInfo(name), b"")]

    return change


FORMS = [
    lambda members: members[::-1],
    lambda members: [*members, members[-1]],
    *(with_time, with_mode, with_folder, with_path("../out"), with_path("/out"), with_path("zz/./out"), with_path("zz//out")),
]


@pytest.mark.parametrize("change", FORMS)
def test_a_bundle_has_one_form(bundle: Path, key: Key, tmp_path: Path, change: object) -> None:
    path = tmp_path / "again.edgec-bundle"
    assert repacked(bundle, path, lambda members: members).read_bytes() == bundle.read_bytes()
    verify_signature(path, Policy(key.trust))
    repacked(bundle, path, change)
    with pytest.raises(Untrusted):
        verify_signature(path, Policy(key.trust))


@pytest.mark.parametrize("cut", [0, 1, 511, 512, 3000, 10_240, 61_440])
def test_a_truncated_bundle_is_refused(bundle: Path, key: Key, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.edgec-bundle"
    path.write_bytes(bundle.read_bytes()[:cut])
    with pytest.raises(Untrusted):
        verify_signature(path, Policy(key.trust))
    path.write_bytes(bundle.read_bytes() + bytes(512))
    with pytest.raises(Untrusted):
        verify_signature(path, Policy(key.trust))


def test_long_paths_travel(unpacked: Path, tmp_path: Path) -> None:
    """As those of Core ML packages are."""
    from edgec.onboard.container import Bundle
    from edgec.onboard.untrusted import Refused

    deep = "/".join(["weights" * 9] * 3) + "/größe.bin"
    (unpacked / deep).parent.mkdir(parents=True)
    (unpacked / deep).write_bytes(b"#")
    path = tmp_path / "long.edgec-bundle"
    with path.open("wb") as file:
        write_bundle(unpacked, file)
    with Bundle(path) as source:
        assert source.sizes[deep] == 1
    (unpacked / ("x" * 200)).write_bytes(b"")
    with path.open("wb") as file, pytest.raises(Refused, match="cannot hold"):
        write_bundle(unpacked, file)


def test_without_openssl(bundle: Path, key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError, match="openssl, which is not available here") as caught:
        verify_signature(bundle, Policy(key.trust))
    assert caught.value.exit_code == 5
