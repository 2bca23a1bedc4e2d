"""`cluster check`: results for all hosts, also for those that cannot be reached; and the fix."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from clusters.errors import CheckFailed, HostError
from clusters.hosts.machine_facts import json_object
from clusters.hosts.shell_words import quote
from clusters.phases.base import Node, Run
from clusters.phases.checks import Checks
from clusters.phases.facts import gather_facts
from clusters.phases.host_checks import CheckResult, check_hosts

SYSCTL_PATH = "/etc/sysctl.d/90-logctl.conf"
TMPFILES_PATH = "/etc/tmpfiles.d/90-logctl.conf"
SYSCTL = "# Written by logctl cluster check --fix.\nvm.swappiness = 1\n"
TMPFILES = (
    "# Written by logctl cluster check --fix.\n"
    "w /sys/kernel/mm/transparent_hugepage/enabled - - - - madvise\n"
)
_APPLY = {
    "swappiness": "echo 1 > /proc/sys/vm/swappiness",
    "thp": "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
}
_FILES = {"swappiness": (SYSCTL_PATH, SYSCTL), "thp": (TMPFILES_PATH, TMPFILES)}


async def check_cluster(run: Run) -> list[CheckResult]:
    """Every result; identity of data, ports and folders are told as failures of their own."""
    results = [_unreachable(run, *each) for each in sorted(run.unreachable.items())]
    for nodes in run.machines():
        try:
            await gather_facts(run, nodes)
        except HostError as error:
            results.append(_failed(nodes[0], "facts", str(error)))
            for node in nodes:
                del run.nodes[node.id]
    results += await check_hosts(run, reach=True)
    known = {result.text() for result in results}
    quiet, run.report = run.report, lambda _: None
    try:
        await Checks().run(run)
    except CheckFailed as error:
        for failure in error.failures:
            if failure not in known:
                results.append(
                    CheckResult(
                        host=run.spec.name,
                        broker_id=None,
                        check="cluster",
                        state="fail",
                        message=failure,
                    )
                )
    finally:
        run.report = quiet
    return results


def _unreachable(run: Run, broker_id: int, text: str) -> CheckResult:
    address = run.host(broker_id).address
    message, _, advice = text.removeprefix(f"{address}: ").partition(". ")
    return CheckResult(
        host=address,
        broker_id=broker_id,
        check="ssh",
        state="fail",
        message=message,
        advice=advice,
    )


def _failed(node: Node, check: str, text: str) -> CheckResult:
    return CheckResult(
        host=node.connection.name, broker_id=node.id, check=check, state="fail", message=text
    )


async def fix_hosts(run: Run, confirm: Callable[[str, str], Awaitable[None]]) -> list[str]:
    """Write settings of the kernel where a check asks for them; returns `host: path` of each."""
    results = await check_hosts(run, reach=False)
    written: list[str] = []
    for nodes in run.machines():
        node = nodes[0]
        wanted = [
            result.check
            for result in results
            if result.fixable and result.host == node.connection.name
        ]
        if not wanted:
            continue
        if not node.connection.is_root:
            raise HostError(f"{node.connection.name}: only root may change settings of the kernel")
        shown = "\n".join(f"{_FILES[check][0]}:\n{_FILES[check][1]}" for check in wanted)
        await confirm(node.connection.name, shown)
        for check in wanted:
            path, content = _FILES[check]
            await node.connection.run(f"mkdir -p {quote(_folder(path))}", what=f"write {path}")
            await node.connection.write_file(path, content.encode(), mode=0o644)
            answer = await node.connection.run(_APPLY[check], what=f"apply {path}")
            if answer.status != 0:
                raise HostError(
                    f"{node.connection.name}: {path} is written and holds from the next boot; it "
                    f"could not be applied now: {answer.complaint}"
                )
            written.append(f"{node.connection.name}: {path}")
        await _list_in_manifest(node, [_FILES[check][0] for check in wanted])
    return written


def _folder(path: str) -> str:
    return path.rsplit("/", 1)[0]


async def _list_in_manifest(node: Node, paths: list[str]) -> None:
    """So that `destroy` removes them; a host without brokers of ours yet has no manifest."""
    manifest = json_object(node.found.installed.files.get("manifest"))
    if manifest is None:
        return
    manifest["files"] = sorted({*manifest.get("files", []), *paths})
    content = (json.dumps(manifest) + "\n").encode()
    await node.connection.write_file(node.layout.host_manifest_path, content, mode=0o644)
