"""A machine reached over SSH: a real SSH server in this process that runs commands by sh."""

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import asyncssh
import pytest

from clusters.errors import HostError, Interrupted, Locked, OperationError
from clusters.hosts.connect import Connector
from clusters.hosts.known_hosts import fingerprint, known_hosts_path
from clusters.hosts.secrets import Secrets
from clusters.lock import LostLock, host_lock
from clusters.operations import Operations
from clusters.spec import parse_spec

NOISE = "echo welcome; echo a warning >&2; "


class Server(asyncssh.SSHServer):
    """Lets in whoever has the key; forwards connections for jumping."""

    def connection_requested(self, *_):
        return True


async def run_by_sh(process):
    """What sshd does: the login shell runs the command line."""
    noise = process.get_extra_info("connection").get_extra_info("noise") or ""
    child = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        noise + process.command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    into = asyncio.ensure_future(pump(process.stdin, child.stdin))
    await asyncio.gather(pump(child.stdout, process.stdout), pump(child.stderr, process.stderr))
    status = await child.wait()
    into.cancel()
    await asyncio.gather(into, return_exceptions=True)
    process.exit(status if status >= 0 else 128 - status)


async def pump(source, sink):
    """Copy until the end or until either side is gone."""
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
    if isinstance(sink, asyncio.StreamWriter):
        sink.close()


class Sshd:
    """One server; `key` opens it, `host_key` is its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.identity = folder / "id"
        self.identity.touch(mode=0o600)
        self.key.write_private_key(self.identity)
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.noise = ""
        self.port = 0
        self.server = None

    async def start(self):
        def made(connection):
            connection.set_extra_info(noise=self.noise)

        self.server = await asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_factory=Server,
            server_host_keys=[self.host_key],
            authorized_client_keys=asyncssh.import_authorized_keys(
                self.key.export_public_key().decode()
            ),
            process_factory=run_by_sh,
            acceptor=made,
            encoding=None,
            allow_scp=False,
        )
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self):
        self.server.close()
        await self.server.wait_closed()

    def spec(self, **ssh):
        values = {"user": "ann", "port": self.port, "identity": str(self.identity), "agent": False}
        values |= ssh
        listed = ", ".join(
            f"{name}: {str(value).lower() if isinstance(value, bool) else value}"
            for name, value in values.items()
        )
        text = f"cluster: far\nssh: {{{listed}}}\nhosts: [{{id: 1, address: 127.0.0.1}}]\n"
        return parse_spec(text.encode(), "far.yaml")


@pytest.fixture
async def sshd(tmp_path):
    server = Sshd(tmp_path)
    await server.start()
    yield server
    await server.stop()


@contextlib.asynccontextmanager
async def connected(spec, secrets=None):
    connector = Connector(spec, secrets or Secrets(environ={}))
    try:
        yield await connector.connect(spec.hosts[0])
    finally:
        await connector.close()


async def refused(spec, secrets=None) -> str:
    with pytest.raises(HostError) as caught:
        async with connected(spec, secrets):
            pass
    return str(caught.value)


async def test_a_script_answers_with_status_output_and_complaint_beside_a_noisy_login(sshd):
    sshd.noise = NOISE
    async with connected(sshd.spec()) as connection:
        answer = await connection.run("cat; echo oops >&2; exit 3", what="try", stdin=b"\x00\xff\n")
        assert (answer.status, answer.out, answer.complaint) == (3, b"\x00\xff\n", "oops")
        assert connection.home == os.path.expanduser("~")


async def test_files_and_folders_come_and_go_whatever_their_names(sshd, tmp_path):
    folder = str(tmp_path / "a 'b' $c; touch x")
    path = f"{folder}/file"
    async with connected(sshd.spec()) as connection:
        assert await connection.read_file(path) is None
        assert await connection.list_folder(folder) == []
        await connection.make_folder(folder, mode=0o750)
        assert os.stat(folder).st_mode & 0o777 == 0o750
        content = bytes(range(256)) * 999
        await connection.write_file(path, content, mode=0o640)
        assert os.stat(path).st_mode & 0o777 == 0o640
        assert await connection.read_file(path) == content
        assert await connection.file_size(path) == len(content)
        assert await connection.read_from(path, len(content) - 5, 3) == content[-3:]
        await connection.swap_link(f"{folder}/link", "one")
        await connection.swap_link(f"{folder}/link", "two")
        assert await connection.read_link(f"{folder}/link") == "two"
        assert await connection.list_folder(folder) == ["file", "link"]
        facts = await connection.folder_facts(f"{folder}/deep/er", create=True)
        assert (facts.exists, facts.obstacle) == (False, None)
        assert "is not a folder" in str(
            (await connection.folder_facts(f"{path}/x", create=True)).obstacle
        )
        (tmp_path / "way").symlink_to(folder)
        with pytest.raises(HostError, match="symbolic link"):
            await connection.remove_folder(str(tmp_path / "way"))
        await connection.remove_folder(folder)
        await connection.remove_folder(folder)
    assert not os.path.exists(folder)
    assert not (tmp_path / "x").exists()


async def test_an_upload_arrives_whole_and_a_refused_one_says_why(sshd, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3 << 20))
    seen = []
    async with connected(sshd.spec()) as connection:
        target = str(tmp_path / "target")
        await connection.upload(str(source), target, seen.append, timeout_ms=20_000)
        assert Path(target).read_bytes() == source.read_bytes()
        assert seen[-1] == 3 << 20
        assert seen == sorted(seen)
        with pytest.raises(HostError, match=r"127\.0\.0\.1 could not write /dev/full/x"):
            await connection.upload(str(source), "/dev/full/x", seen.append, timeout_ms=20_000)


async def test_a_script_that_goes_on_is_ended_there_too(sshd, tmp_path):
    note = tmp_path / "pid"
    async with connected(sshd.spec()) as connection:
        script = f"echo $$ > {note}; exec sleep 60"
        with pytest.raises(HostError, match="did not end within 1 s"):
            await connection.run(script, what="wait", timeout_ms=1_000)
        pid = int(note.read_text())
        async with asyncio.timeout(60):
            while os.path.exists(f"/proc/{pid}"):
                await asyncio.sleep(0.02)


async def test_more_scripts_than_sshd_has_sessions_wait_for_each_other(sshd):
    async with connected(sshd.spec()) as connection:
        answers = await asyncio.gather(
            *(connection.run(f"echo {n}", what="count") for n in range(30))
        )
    assert [answer.text for answer in answers] == [str(n) for n in range(30)]


async def test_a_stream_gives_lines_as_they_come_and_ends_with_its_block(sshd):
    sshd.noise = NOISE
    async with connected(sshd.spec()) as connection:
        script = 'echo $$; while read -r line; do echo "got $line"; done; echo end'
        async with connection.stream(script, what="talk") as stream:
            lines = stream.lines()
            assert (await anext(lines)).isdecimal()
            await stream.send(b"one\n")
            assert await anext(lines) == "got one"
            assert await stream.finish() == 0
            assert [line async for line in lines] == ["end"]


async def test_a_refused_login_says_what_was_tried_and_the_line_to_try(sshd, tmp_path):
    other = asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "other").touch(mode=0o600)
    other.write_private_key(tmp_path / "other")
    text = await refused(sshd.spec(identity=tmp_path / "other"))
    assert "does not let ann in" in text
    assert other.get_fingerprint() in text
    assert f"ssh -p {sshd.port} -i {tmp_path}/other" in text
    assert "ann@127.0.0.1" in text


async def test_a_key_with_a_passphrase_is_opened_by_what_is_told(sshd, tmp_path):
    path = tmp_path / "locked"
    path.touch(mode=0o600)
    sshd.key.write_private_key(path, passphrase="sesame", rounds=16, ignore_few_rounds=True)
    spec = sshd.spec(identity=path)
    assert "LOGCTL_SSH_PASSPHRASE" in await refused(spec)
    told = Secrets(environ={"LOGCTL_SSH_PASSPHRASE": "nonsense"})
    assert "passphrase of the private key" in await refused(spec, told)
    asked = []

    def ask(prompt):
        asked.append(prompt)
        return "sesame"

    async with connected(spec, Secrets(ask=ask, environ={})) as connection:
        assert (await connection.run("echo in", what="try")).text == "in"
    assert asked == [f"Passphrase of {path}: "]


async def test_a_changed_host_key_is_refused_before_anything_is_said(sshd):
    async with connected(sshd.spec()):
        pass
    old = fingerprint(sshd.host_key.public_data)
    await sshd.stop()
    sshd.host_key = asyncssh.generate_private_key("ssh-ed25519")
    await sshd.start()
    text = await refused(sshd.spec())
    assert "ITS HOST KEY CHANGED" in text
    assert old in text
    assert fingerprint(sshd.host_key.public_data) in text
    assert known_hosts_path("far") in text
    other_kind = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    await sshd.stop()
    sshd.host_key = other_kind
    await sshd.start()
    assert "ITS HOST KEY CHANGED" in await refused(sshd.spec())


async def test_nobody_there_and_no_such_key_file_are_told_in_words(sshd, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        text = await refused(sshd.spec(port=probe.getsockname()[1]))
    assert "refused" in text
    assert "By hand: ssh" in text
    assert "cannot be read" in await refused(sshd.spec(identity=tmp_path / "none"))


async def test_a_jump_host_leads_to_a_host(sshd):
    async with connected(sshd.spec(jump=f"ann@127.0.0.1:{sshd.port}")) as connection:
        assert (await connection.run("echo there", what="try")).text == "there"


async def test_sudo_that_is_not_there_or_not_allowed_is_told(sshd, monkeypatch, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    id_ = programs / "id"
    id_.write_text("#!/bin/sh\ncase $1 in -u) echo 1000;; *) echo ann;; esac\n")
    sudo = programs / "sudo"
    sudo.write_text(
        '#!/bin/sh\n[ "$1" = -n ] && exit 1\nread -r p\n'
        '[ "$p" = right ] || { echo "Sorry, try again." >&2; exit 1; }\n'
        'while [ "$1" != -- ]; do shift; done; shift\n'
        f'rm -f {id_}; exec "$@"\n'
    )
    for program in (id_, sudo):
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    spec = sshd.spec(become="sudo")
    assert "LOGCTL_SUDO_PASSWORD" in await refused(spec)
    text = await refused(spec, Secrets(environ={"LOGCTL_SUDO_PASSWORD": "wrong"}))
    assert "sudo refused ann: the password is wrong. Correct LOGCTL_SUDO_PASSWORD" in text
    assert "wrong" not in text.replace("is wrong", "")
    if os.geteuid() == 0:
        async with connected(
            spec, Secrets(environ={"LOGCTL_SUDO_PASSWORD": "right"})
        ) as connection:
            assert connection.is_root
            answer = await connection.run("cat", what="try", stdin=b"what comes after\n")
            assert answer.text == "what comes after"
    sudo.unlink()
    id_.write_text("#!/bin/sh\necho 1000\n")
    id_.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}")
    for name in ("sh", "timeout", "rm"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    assert "has no sudo" in await refused(spec)


async def test_the_lock_of_a_host_names_its_holder_and_dies_with_it(sshd):
    spec = sshd.spec()
    async with connected(spec) as one, connected(spec) as two:
        async with host_lock(one, "far", "up", pytest.fail):
            with pytest.raises(Locked, match=rf"pid {os.getpid()}.*since .*: up\)"):
                async with host_lock(two, "far", "down", pytest.fail):
                    pass
        async with host_lock(two, "far", "down", pytest.fail):
            pass
        holding = asyncio.Event()

        async def hold():
            async with host_lock(one, "far", "up", pytest.fail):
                holding.set()
                await asyncio.Event().wait()

        holder = asyncio.ensure_future(hold())
        async with asyncio.timeout(60):
            await holding.wait()
        one.tunnel.abort()
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(Locked):
                    async with host_lock(two, "far", "again", pytest.fail):
                        break
                await asyncio.sleep(0.05)
        holder.cancel()
        await asyncio.gather(holder, return_exceptions=True)


async def test_locks_of_clusters_that_share_a_host_come_and_go_at_once(sshd):
    """The last one out takes the folder away, while another one is about to use it."""

    async def come_and_go(connection, cluster):
        for _ in range(20):
            async with host_lock(connection, cluster, "up", pytest.fail):
                pass

    async with connected(sshd.spec()) as one, connected(sshd.spec()) as two:
        await asyncio.gather(come_and_go(one, "first"), come_and_go(two, "second"))


async def test_a_lock_that_the_host_gave_up_is_noticed(sshd, monkeypatch):
    """As after a suspended laptop: others may hold it now."""
    monkeypatch.setattr("clusters.lock.HEARTBEAT_S", 60)
    monkeypatch.setattr("clusters.lock.SILENCE_S", 1)
    spec = sshd.spec()
    told = asyncio.get_running_loop().create_future()
    async with (
        connected(spec) as one,
        connected(spec) as two,
        host_lock(one, "far", "up", told.set_result),
        asyncio.timeout(60),
    ):
        assert "heard nothing of this logctl for 1 s" in await told
        async with host_lock(two, "far", "down", pytest.fail):
            pass


async def test_a_run_whose_lock_is_lost_ends_once_and_says_why():
    async def run():
        async with LostLock() as lost:
            asyncio.get_running_loop().call_soon(lost, "h1 gave its lock away")
            asyncio.get_running_loop().call_soon(lost, "h2 gave its lock away")
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                await asyncio.sleep(0.05)  # the broker at hand is finished undisturbed
                raise Interrupted("Left to restart: 2.") from None

    with pytest.raises(OperationError, match=r"h1 gave its lock away\. .*Left to restart: 2"):
        await run()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_every_host_that_cannot_be_reached_is_named_at_once(sshd):
    text = "cluster: far\nhosts:\n" + "".join(
        f"  - {{id: {n}, address: 127.0.0.{n}, ssh: {{port: 1, agent: false}}}}\n" for n in (1, 2)
    )
    spec = parse_spec(text.encode(), "far.yaml")
    with pytest.raises(OperationError) as caught:
        await Operations(spec).up()
    assert "127.0.0.1 cannot be reached" in str(caught.value)
    assert "127.0.0.2 cannot be reached" in str(caught.value)
    status = await Operations(spec).status(timeout_ms=200)
    assert [broker.state for broker in status.brokers] == ["unreachable"] * 2
    assert "the host of broker 1 cannot be reached" in str(status.problem)
