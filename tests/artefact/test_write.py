from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgec.artefact.contents import build_manifest_files
from edgec.artefact.write import check_destination, existing_build_key, write_artefact
from edgec.errors import ArtefactError

WRITER = """
import json, sys, time
from pathlib import Path
from edgec.artefact.write import write_artefact

destination, swap = Path(sys.argv[1]), sys.argv[2] == "swap"
if not swap:
    import edgec.durable
    edgec.durable.exchange = lambda one, other: False
print("ready", flush=True)
for index in range(1000):
    def fill(folder):
        (folder / "manifest.json").write_text(json.dumps({"build_key": str(index)}))
        for part in range(5):
            (folder / f"part{part}").write_text(str(index) * 100)
            time.sleep(0.0003)
    write_artefact(destination, fill, force=True)
    print(index, flush=True)
"""


def artefact(build_key: str) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / "manifest.json").write_text(json.dumps({"build_key": build_key}))
        (folder / "model.bin").write_text(build_key)

    return fill


def never(folder: Path) -> None:
    raise AssertionError("work was done for nothing")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_artefact_appears_with_its_parents(tmp_path: Path) -> None:
    place = write_artefact(tmp_path / "a" / "b" / "out", artefact("one"), force=False)
    assert place == tmp_path / "a" / "b" / "out"
    assert names(place) == {"manifest.json", "model.bin"}
    assert names(place.parent) == {"out"}
    assert existing_build_key(place) == "one"


def test_nothing_is_seen_before_it_is_whole(out: Path) -> None:
    def fill(folder: Path) -> None:
        assert folder.parent == out.parent
        assert not out.exists()
        artefact("one")(folder)

    write_artefact(out, fill, force=False)
    assert out.is_dir()


def test_others_may_read_it_as_the_umask_says(out: Path) -> None:
    previous = os.umask(0o027)
    try:
        write_artefact(out, artefact("one"), force=False)
    finally:
        os.umask(previous)
    assert out.stat().st_mode & 0o777 == 0o750


def test_an_artefact_is_replaced_only_with_force(out: Path) -> None:
    write_artefact(out, artefact("one"), force=False)
    with pytest.raises(ArtefactError, match="exists already") as caught:
        write_artefact(out, never, force=False)
    assert "--force" in caught.value.remedy
    assert check_destination(out, force=True) == "one"
    write_artefact(out, artefact("two"), force=True)
    assert existing_build_key(out) == "two"
    assert names(out.parent) == {"out"}


def test_an_empty_directory_is_replaced(out: Path) -> None:
    out.mkdir()
    assert check_destination(out, force=False) is None
    write_artefact(out, artefact("one"), force=False)
    assert existing_build_key(out) == "one"


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "content",
    [{"precious.txt": "mine"}, {"manifest.json": '{"name": "a web application", "icons": []}'}, {"manifest.json": ""}, None],
    ids=["other files", "another program's manifest", "empty manifest", "a file"],
)
def test_only_artefacts_are_replaced(out: Path, content: dict[str, str] | None, force: bool) -> None:
    if content is None:
        out.write_text("a file")
    else:
        out.mkdir()
        for name, text in content.items():
            (out / name).write_text(text)
    with pytest.raises(ArtefactError, match="is not an artefact of edgec"):
        check_destination(out, force)
    with pytest.raises(ArtefactError, match="is not an artefact of edgec"):
        write_artefact(out, never, force=force)
    assert out.is_file() if content is None else {path.name: path.read_text() for path in out.iterdir()} == content


def test_a_damaged_artefact_can_be_replaced(out: Path) -> None:
    out.mkdir()
    (out / "manifest.json").write_text('{"schema_version": 1, "build_key": "ab')
    assert check_destination(out, force=True) is None
    write_artefact(out, artefact("two"), force=True)
    assert existing_build_key(out) == "two"


def test_the_directory_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "store" / "out")
    write_artefact(link, artefact("one"), force=False)
    write_artefact(link, artefact("two"), force=True)
    assert link.is_symlink()
    assert existing_build_key(tmp_path / "store" / "out") == "two"
    assert names(tmp_path / "store") == {"out"}


def test_files_that_appear_meanwhile_are_not_overwritten(out: Path) -> None:
    def fill(folder: Path) -> None:
        artefact("mine")(folder)
        out.mkdir()
        artefact("theirs")(out)

    with pytest.raises(ArtefactError, match="exists already"):
        write_artefact(out, fill, force=False)
    assert existing_build_key(out) == "theirs"
    assert names(out.parent) == {"out"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no"), ArtefactError("no")])
def test_a_failed_build_keeps_the_older_artefact(out: Path, error: BaseException) -> None:
    write_artefact(out, artefact("one"), force=False)

    def fill(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise error

    with pytest.raises(type(error)) as caught:
        write_artefact(out, fill, force=True)
    assert caught.value is error
    assert existing_build_key(out) == "one"
    assert names(out.parent) == {"out"}


def test_a_full_disk_is_reported(out: Path) -> None:
    def fill(folder: Path) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("a runtime could not save its model") from error

    with pytest.raises(ArtefactError, match="disk is full"):
        write_artefact(out, fill, force=False)
    assert names(out.parent) == set()


def test_a_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match="not a directory"):
        check_destination(tmp_path / "file" / "a" / "out", force=False)


@pytest.mark.parametrize(("mode", "below"), [(0o555, "a/out"), (0o000, "out")], ids=["read only", "not to be searched"])
def test_a_parent_that_is_not_writable(tmp_path: Path, mode: int, below: str) -> None:
    script = """
import sys
from pathlib import Path
from edgec.artefact.write import check_destination
from edgec.errors import ArtefactError
try:
    check_destination(Path(sys.argv[1]), force=False)
except ArtefactError as error:
    print(error)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "locked" / below)]
    if os.access("/", os.W_OK):  # root may write anywhere, but not in a user namespace where it is nobody
        command = ["unshare", "--user", *command]
    (tmp_path / "locked").mkdir(mode)
    done = subprocess.run(command, capture_output=True, text=True)
    if "unshare" in done.stderr:
        pytest.skip("user namespaces are not to be had here")
    assert done.stdout.startswith(f"{tmp_path / 'locked'} is not writable.")


def test_a_mount_point_is_refused_before_the_work() -> None:
    with pytest.raises(ArtefactError, match="mount point"):
        check_destination(Path("/"), force=True)


@pytest.mark.parametrize("how", ["swap", "aside"])
def test_killed_at_any_moment_one_whole_artefact_is_there(out: Path, how: str) -> None:
    """`aside` is what happens where two directories cannot be swapped: then the next build puts the old one back."""
    write_artefact(out, artefact("first"), force=False)
    found = set()
    for attempt in range(10):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(out), how], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        for _ in range(attempt):
            process.stdout.readline()
        time.sleep(0.001 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert how == "aside" or out.is_dir()
        write_artefact(out.parent / "other", artefact("other"), force=True)
        assert names(out.parent) == {"out", "other"}
        build_key = existing_build_key(out)
        assert build_key is not None
        for part in out.glob("part*"):
            assert part.read_text() == build_key * 100
        assert len(list(out.glob("part*"))) == (0 if build_key == "first" else 5)
        found.add(build_key)
    assert len(found) > 1, "the kills did not hit builds at work"


def test_the_old_artefact_is_put_back_if_the_build_died_between_two_renames(out: Path) -> None:
    script = """
import os, sys
from pathlib import Path
import edgec.durable as durable
durable.exchange = lambda one, other: False
rename = Path.rename
def killed(self, target):
    if self.suffix == ".tmp":
        os.kill(os.getpid(), 9)
    return rename(self, target)
Path.rename = killed
with durable.scratch(Path(sys.argv[1]).parent) as work:
    durable.replace_directory(work, Path(sys.argv[1]))
"""
    write_artefact(out, artefact("one"), force=False)
    assert subprocess.run([sys.executable, "-c", script, str(out)]).returncode == -signal.SIGKILL
    assert not out.exists()
    write_artefact(out.parent / "other", artefact("other"), force=False)
    assert existing_build_key(out) == "one"
    assert names(out.parent) == {"out", "other"}


def test_all_files_but_manifest_and_report_are_hashed(tmp_path: Path) -> None:
    for path in (
        "b.bin",
        "golden/a.npz",
        "manifest.json",
        "report.json",
        "report.md",
        "report/x.html",
        "sub/report.json",
        "reports",
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("hello")
    facts = build_manifest_files(tmp_path)
    assert [file.path for file in facts] == ["b.bin", "golden/a.npz", "reports", "sub/report.json"]
    assert {file.size_bytes for file in facts} == {5}
    assert {file.sha256 for file in facts} == {"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}


def test_links_in_an_artefact_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(ArtefactError, match="not a regular file"):
        build_manifest_files(tmp_path)
