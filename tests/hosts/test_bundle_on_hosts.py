"""The bundle on hosts that have nothing: an older C library, or none."""

import subprocess
from pathlib import Path

import pytest

from clusters.bundle import build_bundle
from tests.hosts.host import Host, until
from tests.hosts.lab import Lab

START_SECONDS = 60.0
CONFIG = """\
node.id=1
process.roles=broker,controller
cluster.id=AAAAAAAAAAAAAAAAAAAAAQ
listeners=PLAINTEXT://{address}:9092,CONTROLLER://{address}:9093
controller.listener.names=CONTROLLER
controller.quorum.voters=1@{address}:9093
log.dirs=/data
"""


def install(host: Host) -> None:
    """As a deploy does it: one archive through the shell, unpacked by tar, reached by a link."""
    target = host.path("/opt/release.tar.gz")
    target.write_bytes(Path(build_bundle().path).read_bytes())
    host.run("mkdir -p /opt/release /data && tar xzf /opt/release.tar.gz -C /opt/release")
    host.run("ln -s release /opt/current")
    host.write("/etc/logd.properties", CONFIG.format(address=host.address))


@pytest.mark.parametrize("suite", ["bookworm", "bullseye"])
def test_a_broker_lives_on_a_bare_host(lab: Lab, suite: str) -> None:
    (host,) = lab.start(1, suite=suite)
    install(host)
    supervise = "/opt/current/bin/supervise"
    host.run(
        f"{supervise} start --name b-1 --run-dir /run/b-1 --log /var/log/b-1.log "
        "--nofile 4096 -- /opt/current/bin/logd --config /etc/logd.properties"
    )
    log = host.path("/var/log/b-1.log")
    until(lambda: '"unfenced"' in log.read_text(), "the broker takes part", START_SECONDS)
    pid = int(host.run("cat /run/b-1/child.identity").split()[0])
    assert host.run(f"cat /proc/{pid}/comm").strip() == "logd"
    assert "/opt/release/lib/python" in host.run(f"cat /proc/{pid}/maps")
    host.kill(pid)
    until(lambda: log.read_text().count('"unfenced"') == 2, "the broker came back", START_SECONDS)
    assert host.run(f"{supervise} stop --run-dir /run/b-1").strip() == (
        '{"stopped": true, "killed": false}'
    )
    assert not [line for line in host.processes().values() if "logd" in line]


def test_the_bundle_needs_no_file_of_the_host(lab: Lab, tmp_path: Path) -> None:
    """In a root that holds the bundle and nothing else: no library, no shell, no /etc."""
    assert lab.hosts == []
    release = tmp_path / "r"
    release.mkdir()
    subprocess.run(["tar", "xzf", build_bundle().path, "-C", str(release)], check=True)
    loader = next((release / "lib").glob("ld-linux*")).name
    (program,) = (release / "bin").glob("python3.*")
    words = [f"/r/lib/{loader}", "--library-path", "/r/lib", "--argv0", "/r/bin/python3"]
    words += [f"/r/bin/{program.name}", "-I", "-S", "-c"]
    script = (
        "import broker.server, broker.api.catalogue, uvloop, cramjam, crc32c, ssl, asyncio, socket;"
        "print(asyncio.run(asyncio.sleep(0, 'ran')), socket.getaddrinfo('127.0.0.1', 1)[0][4])"
    )
    done = subprocess.run(
        ["chroot", str(tmp_path), *words, script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ran ")
