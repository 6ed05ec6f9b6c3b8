"""Import, export and freezing: messages a second, CPU seconds and memory at two sizes, against a plain peer.

    python benchmarks/dataio.py [--sizes 20000 60000] [--export 0] [--json FILE]

The input is the samples over and over, with fresh ids. Ours is `import_trees` and `export_trees`; the peer parses the
whole file, inserts each tree as one nested document, and reads all documents back before it writes them. The peer does
less: it checks nothing, keeps no index of messages, cannot be run twice, and no thread can be found in what it stored.
Every measurement is a process of its own (peak memory is a process's), ours and the peer's in turn, on one server that
this program starts; the server's CPU seconds are told apart.

With `--export N` it then exports N messages in two forms, and freezes them. They are written into the store's file past
its server (see `benchmarks.simulated.imported_store`), under the one index that an export reads by. A million take 5 GB
under the temporary folder (`TMPDIR`) while it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import psutil
from pymongo import AsyncMongoClient
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.simulated.imported_store import IDENTITY, fill  # noqa: E402
from core.database import connect, migrate  # noqa: E402
from core.interchange import import_trees  # noqa: E402
from core.tree_export import export_trees  # noqa: E402
from oa import embedded  # noqa: E402

SAMPLES = ROOT / "samples" / "trees.jsonl"


def write_input(path: Path, messages: int) -> int:
    """Write at least `messages` messages; returns how many."""
    lines = SAMPLES.read_text("utf-8").splitlines(keepends=True)
    written = copy = 0
    with path.open("w", encoding="utf-8") as out:
        while written < messages:
            space = uuid.UUID(int=copy)
            for line in lines:
                out.write(IDENTITY.sub(lambda found: str(uuid.uuid5(space, found[0])), line))  # noqa: B023
                written += line.count('"text"')
            copy += 1
    return written


async def ours_import(client: AsyncMongoClient[dict[str, Any]], name: str, path: Path) -> int:
    """Ours in; as all of these, how many messages."""
    await migrate(client[name])
    return (await import_trees(client[name], path)).messages


async def ours_export(client: AsyncMongoClient[dict[str, Any]], name: str, path: Path) -> int:
    """Ours out."""
    return (await export_trees(client[name], path.with_name("out.jsonl"))).messages


async def ours_rows(client: AsyncMongoClient[dict[str, Any]], name: str, path: Path) -> int:
    """Ours out, as rows of 18 columns."""
    return (await export_trees(client[name], path.with_suffix(".parquet"))).messages


async def ours_freeze(client: AsyncMongoClient[dict[str, Any]], name: str, path: Path) -> int:
    """Ours into the object store, as a snapshot of whole trees."""
    from core.objects import ObjectStore  # here: they take memory that the others do without
    from core.snapshots import freeze

    store = ObjectStore.from_env()
    store.ensure_bucket()
    rows: int = (await freeze(client[name], store, kind="trees", name=path.stem))["counts"]["rows"]
    return rows


async def peer_import(client: AsyncMongoClient[dict[str, Any]], name: str, path: Path) -> int:
    """The peer in: everything at once."""
    trees = [json.loads(line) for line in path.read_text("utf-8").splitlines()]  # noqa: ASYNC240 - nothing else runs
    documents = [{"_id": tree["message_tree_id"], **tree} for tree in trees]
    for start in range(0, len(documents), 1_000):  # of more the driver makes messages of 48 MB, which block the server
        await client[name]["peer"].insert_many(documents[start : start + 1_000])
    return sum(map(_size, trees))


async def peer_export(client: AsyncMongoClient[dict[str, Any]], name: str, path: Path) -> int:
    """The peer out: everything at once."""
    trees = await client[name]["peer"].find().to_list()
    path.with_suffix(".out").write_text("".join(json.dumps(tree, ensure_ascii=False) + "\n" for tree in trees), "utf-8")
    return sum(map(_size, trees))


def _size(tree: dict[str, Any]) -> int:
    """Messages of a tree."""
    waiting, found = [tree["prompt"]], 0
    while waiting:
        waiting += waiting.pop().get("replies", ())
        found += 1
    return found


ACTIONS = {"ours": (ours_import, ours_export, ours_rows, ours_freeze), "peer": (peer_import, peer_export)}


async def child(who: str, step: int, uri: str, name: str, path: Path) -> dict[str, float]:
    """One measurement, in this process: seconds of wall clock, CPU seconds, MiB before and at the peak."""
    # The peer asks for more in one command than the embedded server answers in the 20 s that ours waits at most.
    async with connect(uri) if who == "ours" else AsyncMongoClient(uri) as client:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wall, used = time.perf_counter(), time.process_time()
        messages = await ACTIONS[who][step](client, name, path)
        wall, used = time.perf_counter() - wall, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"messages": messages, "wall_s": wall, "cpu_s": used, "start_mib": before / 1024, "peak_mib": peak / 1024}


def measure(uri: str, folder: Path, server: int, sizes: list[int], export: int) -> list[dict[str, Any]]:
    """All measurements, ours and the peer's in turn."""
    results = []
    for size in sizes:
        path = folder / f"{size}.jsonl"
        messages = write_input(path, size)
        for step, action in enumerate(("import", "export")):
            for who in ACTIONS:
                results.append(measured(who, step, action, uri, f"bench_{who}_{size}", path, messages, server))
    if export:
        started = time.monotonic()
        messages = fill(folder / "server", "bench_filled", SAMPLES, export)
        print(f"filled {messages:,} messages in {time.monotonic() - started:.0f} s", file=sys.stderr)
        for step, action in ((1, "export"), (2, "export, 18 columns"), (3, "freeze")):
            results.append(
                measured("ours", step, action, uri, "bench_filled", folder / "filled.jsonl", messages, server)
            )
    return results


def measured(
    who: str, step: int, action: str, uri: str, name: str, path: Path, messages: int, server: int
) -> dict[str, Any]:
    """One measurement, in a process of its own; told as soon as it is made."""
    arguments = ["--child", who, str(step), uri, name, str(path)]
    before = sum(psutil.Process(server).cpu_times()[:2])
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=False)
    if done.returncode and who == "ours":
        raise SystemExit(f"ours {action} of {messages:,} failed:\n{done.stderr}")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1][:120]
        print(f"{who} {action} of {messages:,} failed: {reason}", file=sys.stderr)
        return {"who": who, "action": action, "messages": messages, "failed": reason}
    found = json.loads(done.stdout)
    assert found["messages"] == messages, f"{who} {action}: {found['messages']:,} of {messages:,} messages"
    found["server_cpu_s"] = sum(psutil.Process(server).cpu_times()[:2]) - before
    found = {"who": who, "action": action, "messages": messages, "messages_per_s": messages / found["wall_s"], **found}
    told = f"{found['messages_per_s']:,.0f}/s, {found['cpu_s']:.1f} and {found['server_cpu_s']:.1f} s of CPU"
    print(f"{who} {action} of {messages:,}: {told}, {found['peak_mib']:.1f} MiB", file=sys.stderr)
    return found


def show(results: list[dict[str, Any]]) -> None:
    """Print the results as a table."""
    table = Table("action", "who", "messages", "messages/s", "wall s", "CPU s", "server CPU s", "start MiB", "peak MiB")
    for each in results:
        if "failed" in each:
            table.add_row(each["action"], each["who"], f"{each['messages']:,}", "failed", "", "", "", "", "")
            continue
        numbers = [f"{each[key]:,.1f}" for key in ("wall_s", "cpu_s", "server_cpu_s", "start_mib", "peak_mib")]
        table.add_row(each["action"], each["who"], f"{each['messages']:,}", f"{each['messages_per_s']:,.0f}", *numbers)
    Console().print(table)


def main() -> None:
    """Read the arguments, start the server, measure, show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[20_000, 60_000], help="messages to import and export again"
    )
    parser.add_argument("--export", type=int, default=0, help="messages to export without an import before; 0 for none")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        who, step, uri, name, path = options.child
        print(json.dumps(asyncio.run(child(who, int(step), uri, name, Path(path)))))
        return
    with tempfile.TemporaryDirectory() as folder:
        port, objects_port = embedded.free_port(), embedded.free_port()
        server = embedded.start(embedded.document_store_command(Path(folder) / "server", port))
        objects = embedded.start(embedded.object_store_command(Path(folder) / "objects", objects_port))
        os.environ["OA_S3_ENDPOINT"] = f"http://127.0.0.1:{objects_port}"
        try:
            embedded.wait_for_port(port, server)
            embedded.wait_for_port(objects_port, objects)
            results = measure(f"mongodb://127.0.0.1:{port}", Path(folder), server.pid, options.sizes, options.export)
        finally:
            for each in (server, objects):
                each.terminate()
                each.wait()
    show(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
