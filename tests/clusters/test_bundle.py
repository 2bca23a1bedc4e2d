"""The bundle: same bytes from the same inputs, small, whole, and usable wherever it is unpacked."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from clusters.bundle import Bundle, BundleError, build_bundle, ensure_bundle, read_bundle
from clusters.bundle.contents import list_contents, package_versions
from clusters.bundle.interpreter import ask_interpreter
from clusters.bundle.libraries import find_libraries

SIZE_BYTES_MAX = 20_000_000
RUN_SECONDS = 30

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bundles are built on Linux")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return build_bundle()


@pytest.fixture(scope="module")
def unpacked(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "a folder with blanks"
    folder.mkdir()
    subprocess.run(["tar", "xzf", bundle.path, "-C", str(folder)], check=True)
    return folder


def run(program: Path | str, *words: str) -> subprocess.CompletedProcess[str]:
    hostile = {"PATH": os.environ["PATH"], "PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere"}
    return subprocess.run(
        [str(program), *words],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
        env=hostile,
    )


def test_it_is_small_and_its_sum_is_told(bundle: Bundle) -> None:
    content = Path(bundle.path).read_bytes()
    assert bundle.size_bytes == len(content) < SIZE_BYTES_MAX
    assert hashlib.sha256(content).hexdigest() == bundle.sha256


async def test_the_same_inputs_give_the_same_bytes(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = tmp_path / "logctl" / "bundles"
    for old in (cache / "build-that-was-killed" / "part", cache / "logd-0.0-of-old.tar.gz"):
        old.parent.mkdir(parents=True, exist_ok=True)
        old.write_bytes(b"")
    for name in os.listdir(cache):
        os.utime(cache / name, (0, 0))
    used = cache / "logd-0.0-used-now.tar.gz"
    used.write_bytes(b"")
    said: list[str] = []
    again, beside = await asyncio.gather(
        ensure_bundle(progress=said.append), ensure_bundle(progress=said.append)
    )
    assert again == beside
    assert again.sha256 == bundle.sha256
    assert Path(again.path).is_relative_to(tmp_path)
    assert sum(text.startswith("building") for text in said) == 1, said

    said.clear()
    assert await ensure_bundle(progress=said.append) == again
    assert said == []
    Path(again.path).write_bytes(b"cut short")
    used.unlink()
    listing = [path.name for path in cache.iterdir()]
    assert len(listing) == 2, listing  # the archive and its note; nothing of any build is left


def test_every_entry_is_ours_to_unpack(bundle: Bundle) -> None:
    with tarfile.open(bundle.path) as archive:
        members = archive.getmembers()
    names = {member.name for member in members}
    assert {"bin/logd", "bin/supervise", "bin/python3", "manifest.json"} <= names
    assert len(names) == len(members)
    for member in members:
        assert member.isfile() or member.isdir(), member.name
        assert not member.name.startswith("/")
        assert ".." not in member.name.split("/")
        assert (member.uid, member.gid, member.mode & 0o022) == (0, 0, 0), member.name
    for unwanted in ("/clusters/spec", "/shell/", "/tui/", "/tests/", "asyncssh", "textual"):
        assert not [name for name in names if unwanted in name]


def test_the_manifest_says_what_is_inside(bundle: Bundle, unpacked: Path) -> None:
    manifest = json.loads((unpacked / "manifest.json").read_text())
    assert manifest["architecture"] == bundle.architecture == os.uname().machine
    assert manifest["python"] == bundle.python_version
    assert manifest["packages"] == package_versions()
    assert {"kio", "uvloop", "crc32c", "cramjam"} <= manifest["packages"].keys()


def test_it_runs_where_it_was_unpacked_and_reads_nothing_else(unpacked: Path) -> None:
    done = run(unpacked / "bin" / "logd", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--config" in done.stdout
    assert run(unpacked / "bin" / "supervise", "status", "--run-dir", "/nowhere").returncode == 0

    program = (
        "import sys, importlib\n"
        "for name in ('broker.server', 'broker.api.catalogue', 'uvloop', 'cramjam', 'crc32c', 'kio',"
        " 'prometheus_client', 'ssl', 'socket', 'ctypes', 'zlib', 'hashlib'):\n"
        "    importlib.import_module(name)\n"
        "for module in sys.modules.values():\n"
        "    print(getattr(module, '__file__', None) or '')\n"
        "for line in open('/proc/self/maps'):\n"
        "    print(line.strip().partition('/')[1] + line.strip().partition('/')[2])\n"
    )
    done = run(unpacked / "bin" / "python3", "-I", "-S", "-c", program)
    assert done.returncode == 0, done.stderr
    files = {line for line in done.stdout.splitlines() if line.startswith("/")}
    assert len(files) > 100
    assert [file for file in files if not file.startswith(f"{unpacked}/")] == []


def test_it_starts_without_compiling_anything(unpacked: Path) -> None:
    before = set(unpacked.rglob("*"))
    assert run(unpacked / "bin" / "logd", "--help").returncode == 0
    assert set(unpacked.rglob("*")) == before


def test_a_traceback_names_the_file_where_it_is_now(unpacked: Path) -> None:
    done = run(unpacked / "bin" / "python3", "-I", "-c", "import json; json.loads('{')")
    assert str(unpacked / "lib") in done.stderr


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("/no/such/python", "/no/such/python did not run as a Python"),
        ("/bin/cat", "did not run as a Python"),
    ],
)
def test_what_is_no_python_is_refused(python: str, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        build_bundle(python=python)


def test_another_minor_version_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text(
        "#!/bin/sh\n"
        'echo \'{"executable": "/p", "stdlib": "/s", "extensions": "", "version": "3.99.1", '
        '"cache_tag": "cpython-399", "machine": "x86_64", "libc": "glibc 2.40", '
        '"system": "Linux", "implementation": "CPython"}\'\n'
    )
    other.chmod(0o755)
    with pytest.raises(BundleError, match=r"is CPython 3\.99\.1; our native packages need"):
        build_bundle(python=str(other))


def test_musl_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text(
        "#!/bin/sh\n"
        'echo \'{"executable": "/p", "stdlib": "/s", "extensions": "", "version": "3.11.1", '
        '"cache_tag": "cpython-311", "machine": "x86_64", "libc": "", '
        '"system": "Linux", "implementation": "CPython"}\'\n'
    )
    other.chmod(0o755)
    with pytest.raises(BundleError, match="GNU C library"):
        build_bundle(python=str(other))


def test_an_output_that_cannot_be_written_is_named(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"absent/logd\.tar\.gz: No such file"):
        build_bundle(output=str(tmp_path / "absent" / "logd.tar.gz"))
    target = tmp_path / "logd.tar.gz"
    build_bundle(output=str(target))
    assert target.stat().st_size == bundle.size_bytes
    assert [path.name for path in tmp_path.iterdir()] == ["logd.tar.gz"]


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clusters.bundle.contents.DISTRIBUTIONS", ("no-such-package",))
    with pytest.raises(BundleError, match="no-such-package, which logd needs, is not installed"):
        list_contents(ask_interpreter("self"))


def test_libraries_include_loader_and_c_library() -> None:
    found = find_libraries([ask_interpreter("self").executable], frozenset())
    assert found.loader in found.files
    assert "libc.so.6" in found.files


def test_a_bundle_in_a_file_is_read(bundle: Bundle, tmp_path: Path) -> None:
    assert read_bundle(bundle.path) == bundle
    torn = tmp_path / "torn.tar.gz"
    torn.write_bytes(Path(bundle.path).read_bytes()[:1_000_000])
    with pytest.raises(BundleError, match=r"torn\.tar\.gz is no bundle of logctl"):
        read_bundle(str(torn))
    other = tmp_path / "other.tar.gz"
    with tarfile.open(other, "w:gz") as archive:
        archive.add(__file__, "manifest.json")
    with pytest.raises(BundleError, match="is no bundle"):
        read_bundle(str(other))
    with pytest.raises(BundleError, match="there is no bundle"):
        read_bundle(str(tmp_path / "absent"))
