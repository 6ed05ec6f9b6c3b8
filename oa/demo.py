"""`make demo`: the whole wheel, once, as one script. Read it from top to bottom: it is the story of the product.

Everything goes through the doors that any user has: the command line and GraphQL over HTTP and WebSocket. The script
holds no credentials of any store. What it did is kept in `var/`, so a second run goes on where the first one was:
trees that are ready stay, equal snapshots keep their version, an equal job is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape

from core.errors import BadInput, OaError, Unavailable
from core.ids import content_hash
from oa.client import GraphQLClient
from oa.demo_operations import (
    CREATE_CHAT,
    FREEZE,
    JOB,
    JOB_EVENTS,
    LAUNCH,
    LINEAGE,
    PROMOTE,
    RATE,
    REPLY_EVENTS,
    REPLY_TREE,
    SEND,
    TREE_TEXTS,
)
from oa.demo_people import TREE_STATE, Contributor, Script, sign_in
from oa.demo_report import StageBars, counting, lineage_table, result_table
from oa.settings import running, settings, var_folder

ROOT = Path(__file__).resolve().parents[1]
MODEL = "assistant"
PEOPLE = ("ada", "ben", "chi", "dora", "emil", "fay")
SNAPSHOTS = {"sft": "threads", "preference": "pairs", "prompts": "prompts"}
QUESTION = "How do I keep a basil plant alive on the kitchen window sill?"

say = Console()


def main(data: Path, recipe: Path) -> None:
    """Turn the wheel once."""
    began = time.monotonic()
    if not data.is_file():
        raise BadInput(f"{str(data)!r} is no file; DATA must name one of trees: .jsonl, .jsonl.gz or .parquet")

    # 1. Start everything: two embedded stores, the API, a serving node, a jobs worker with its own Ray.
    #    The same code runs in a cloud; only addresses differ (OA_MONGODB_URI, OA_S3_ENDPOINT, OA_RAY_ADDRESS).
    heading(1, "Start the stack")
    ours = running(var_folder()) is None
    if ours:
        os.environ.setdefault("OA_COLLECTION_FILE", str(ROOT / "samples" / "collection.json"))
        os.environ.setdefault("OA_SWEEP_SECONDS", "1")
        os.environ.setdefault("OA_SCORE_SECONDS", "5")
        oa("up", "--detach")
    try:
        turn(settings(), data, recipe)
    except BaseException:
        if not (ours and os.environ.get("CI")):
            say.print("the stack still runs; [bold].venv/bin/oa down[/] stops it, [bold]make demo[/] goes on with it")
        raise
    finally:
        if ours and os.environ.get("CI"):
            oa("down")
    say.print(f"the wheel turned once in {time.monotonic() - began:.0f} s")
    if not os.environ.get("CI"):
        say_where(settings())


def turn(found: dict[str, str], data: Path, recipe: Path) -> None:
    """Chapters 2 to 9, on a stack that runs; `found` has its addresses."""
    anyone = GraphQLClient(found["OA_API_URL"] + "/graphql")

    # 2. Conversations that people wrote and ranked before: Open-Assistant's own export form, streamed in.
    heading(2, f"Import conversations from {data.name}")
    oa("import", str(data))

    # 3. Six people at six clients write, review and rank new conversations, one task at a time, over GraphQL.
    heading(3, "Contributors write, review and rank")
    script = Script.read(ROOT / "samples" / "contributors.json")
    people = contributors(anyone, script)
    collect(people, script)

    # 4. Freeze what is there. A snapshot is hashed and never changes; training starts from nothing else.
    heading(4, "Freeze snapshots")
    operator = sign_in(anyone, "operator", "ADMIN")
    frozen = {kind: freeze(operator, kind, name) for kind, name in SNAPSHOTS.items()}

    # 5. Train: supervised fine-tuning, a reward model from the rankings, PPO against it; then evaluate and export.
    #    The API writes the job to the object store, a worker pulls it from there; events come back the same way.
    heading(5, "Train: SFT, reward model, PPO; evaluate; export to ONNX")
    job = train(operator, fill(recipe, frozen))

    # 6. Promote the version. Serving nodes follow the pointer: verify hashes, load beside the old one, switch.
    heading(6, "Promote and serve")
    operator = sign_in(anyone, "operator", "ADMIN")  # training took longer than a token lives
    label = job["model"]["label"]
    operator.mutate(PROMOTE, input={"name": MODEL, "version": job["model"]["version"]})
    serving = found["OA_SERVING_URLS"].split(",")[0]
    wait_for(lambda: serves(serving, label), 120, f"the serving node does not serve {label}")
    say.print(f"{serving}/v1 serves [bold]{label}[/]")

    # 7. Chat: the reply comes token by token through a subscription that can be resumed after any token.
    heading(7, "Chat")
    reader = sign_in(anyone, "reader")
    reply = chat(reader)

    # 8. A thumbs-down, with consent, is worth something: the drafts go to people to be ranked. The wheel has turned.
    heading(8, "Thumbs down: the reply comes back as a ranking task")
    reader.mutate(RATE, input={"messageId": reply["id"], "score": -1, "reason": "too vague"})
    tree = wait_for(lambda: tree_of(reader, reply["id"]), 60, "the rated reply did not become a tree")
    wait_for(lambda: tree_state(reader, tree) == "RANKING", 60, "the rated reply was not opened for ranking")
    task = sign_in_as(anyone, script, "gwen", people).ranking_task_about(QUESTION)
    say.print(f"a {task['kind']} task asks a contributor which of {len(task['replies'])} drafts is best:")
    for draft in task["replies"]:
        say.print(f"  [dim]-[/] {escape(shortened(draft['text']))}", highlight=False)
    say.print("[dim]the reward model scores them meanwhile: sets of which it is unsure are handed out first[/]")

    # 9. What was measured, and why the model says what it says.
    heading(9, "Results")
    say.print(result_table(job["stages"]))
    say.print(lineage_table(reader.execute(LINEAGE, id=reply["id"])["node"]))


# ---------------------------------------------------------------------------------------------------- collecting


def contributors(anyone: GraphQLClient, script: Script) -> list[Contributor]:
    """Six people; the last one likes the worst replies best, and consensus must bear it."""
    langs = sorted({prompt["lang"] for prompt in script.prompts})
    return [Contributor(sign_in(anyone, name), script, langs, contrary=name == PEOPLE[-1]) for name in PEOPLE]


def sign_in_as(anyone: GraphQLClient, script: Script, name: str, like: list[Contributor]) -> Contributor:
    """One more contributor, who has seen nothing yet."""
    return Contributor(sign_in(anyone, name), script, like[0].langs)


def collect(people: list[Contributor], script: Script) -> None:
    """Let people work until each prompt of the script has become a tree that is ready for training."""
    trees = open_trees(people, script)
    done: Counter[str] = Counter()
    with counting(say, "trees ready", len(trees)) as show:
        while waiting := [tree for tree in trees if tree_state(people[0].client, tree) != "READY_FOR_EXPORT"]:
            show(len(trees) - len(waiting), ", ".join(f"{n} {kind.lower()}" for kind, n in sorted(done.items())))
            worked = [kind for kind in (person.work() for person in people) if kind]
            done.update(worked)
            if not worked:
                time.sleep(0.2)  # the sweeper draws the lottery and closes trees
        show(len(trees), "")
    for kind, number in sorted(done.items()):
        say.print(f"  {number:3} {kind.lower()}")


def open_trees(people: list[Contributor], script: Script) -> list[str]:
    """A tree for each prompt of the script: those of an earlier run, and new ones; their ids."""
    notes = var_folder() / "demo.json"
    trees: dict[str, str] = json.loads(notes.read_text("utf-8")) if notes.exists() else {}
    for number, prompt in enumerate(script.prompts):
        person = people[number % len(people)]
        if (known := trees.get(prompt["key"])) and (node := person.client.execute(TREE_TEXTS, id=known)["node"]):
            script.said.update(message["text"] for message in node["messages"]["nodes"])
            continue
        trees[prompt["key"]] = person.open_tree(prompt)
        notes.write_text(json.dumps(trees, indent=2), "utf-8")
    return list(trees.values())


def tree_state(client: GraphQLClient, tree: str) -> str:
    """Where a tree is on its way."""
    return str(client.execute(TREE_STATE, id=tree)["node"]["state"])


# ------------------------------------------------------------------------------------------------------ training


def freeze(operator: GraphQLClient, kind: str, name: str) -> dict[str, str]:
    """Freeze one snapshot; its name and version."""
    wanted = {"kind": kind, "name": name, "validationPercent": 20}
    snapshot = operator.mutate(FREEZE, input=wanted)["snapshot"]
    counts = f"{snapshot['train']} to train on, {snapshot['validation']} held out, from {snapshot['trees']} trees"
    say.print(f"  {kind:10} {snapshot['name']}/{snapshot['version']}  {counts}")
    return {"name": snapshot["name"], "version": snapshot["version"]}


def fill(recipe: Path, frozen: dict[str, dict[str, str]]) -> dict[str, Any]:
    """The recipe with the snapshots just frozen in place of the names that it gives."""
    spec: dict[str, Any] = json.loads(recipe.read_text("utf-8"))
    by_name = {reference["name"]: reference for reference in frozen.values()}
    for stage in spec["stages"]:
        if "dataset" in stage:
            stage["dataset"] = by_name[stage["dataset"]["name"]]
    return spec


def train(operator: GraphQLClient, spec: dict[str, Any]) -> dict[str, Any]:
    """Launch the job, or find it if an equal one ran before; follow it to its end."""
    key = f"demo-{content_hash(spec)[:32]}"
    job = operator.mutate(LAUNCH, input={"spec": spec, "idempotencyKey": key})["job"]
    while job["state"] in ("FAILED", "CANCELLED"):  # an earlier run's; try anew
        job = operator.mutate(LAUNCH, input={"spec": spec, "idempotencyKey": f"{key}-after-{job['id']}"})["job"]
    if job["state"] != "SUCCEEDED":
        with StageBars(say, [stage["kind"] for stage in spec["stages"]]) as bars:
            for event in operator.subscribe(JOB_EVENTS, jobId=job["id"]):
                bars.show(event["jobEvents"])
    else:
        say.print("  the same job succeeded before; nothing to do again")
    job = operator.execute(JOB, id=job["id"])["node"]
    if job["state"] != "SUCCEEDED":
        raise OaError(f"the job ended as {job['state']}: {job['error']}", code="GATE_FAILED")
    return dict(job)


# ------------------------------------------------------------------------------------------------------- chatting


def serves(url: str, label: str) -> bool:
    """Whether the node answers as `label`, that is `name@version`."""
    try:
        answer = httpx.get(f"{url}/v1/models", timeout=5)
    except httpx.HTTPError:
        return False
    models = answer.json().get("data", ()) if answer.status_code == httpx.codes.OK else ()
    return label in (f"{model['id']}@{model['version']}" for model in models)


def chat(reader: GraphQLClient) -> dict[str, Any]:
    """Ask one question and print the answer as it comes; returns the finished reply."""
    wanted = {"model": MODEL, "allowTraining": True, "maxTokens": 96}
    conversation = reader.mutate(CREATE_CHAT, input=wanted)["chat"]
    reply = reader.mutate(SEND, input={"chatId": conversation["id"], "text": QUESTION})["reply"]
    say.print(f"[bold]you:[/] {QUESTION}")
    say.print("[bold]assistant:[/] ", end="")
    for event in reader.subscribe(REPLY_EVENTS, messageId=reply["id"]):
        say.print(event["chatReply"]["text"], end="", highlight=False, markup=False, soft_wrap=True)
        reply = event["chatReply"]["message"] or reply
    say.print(f"\n[dim]{reply['modelVersion']}, {reply['seq']} tokens[/]")
    if reply["state"] != "COMPLETE":
        raise OaError(f"the reply ended as {reply['state']}: {reply['error']}", code="UNAVAILABLE")
    return dict(reply)


def tree_of(reader: GraphQLClient, reply: str) -> str | None:
    """The tree that a rated reply went into, once it is there."""
    tree: str | None = reader.execute(REPLY_TREE, id=reply)["node"]["treeId"]
    return tree


# --------------------------------------------------------------------------------------------------------- helpers


def heading(number: int, text: str) -> None:
    """Announce a chapter."""
    say.rule(f"[bold]{number}. {text}", align="left")


def oa(*arguments: str) -> None:
    """Run a command of the command line, as a person would."""
    say.print(f"[dim]$ oa {' '.join(arguments)}[/]", highlight=False)
    done = subprocess.run([sys.executable, "-m", "oa", *arguments], check=False)
    if done.returncode:
        raise Unavailable(f"`oa {' '.join(arguments)}` ended with code {done.returncode}")


def wait_for(ready: Any, seconds: float, otherwise: str) -> Any:
    """The first true answer of `ready()`; raises `Unavailable` after `seconds`."""
    deadline = time.monotonic() + seconds
    with say.status("waiting"):
        while not (answer := ready()):
            if time.monotonic() > deadline:
                raise Unavailable(f"{otherwise} after {seconds:.0f} s")
            time.sleep(0.2)
    return answer


def shortened(text: str, length: int = 160) -> str:
    """`text` on one line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def say_where(found: dict[str, str]) -> None:
    """Everything was left running: say at which addresses."""
    say.print(f"API by hand     {found['OA_API_URL']}/graphql")
    say.print(f"OpenAI's form   {found['OA_SERVING_URLS'].split(',')[0]}/v1")
    oa("status")
    say.print("the worker's address is Ray's dashboard; [bold].venv/bin/oa down[/] stops everything")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make demo", description="Turn the wheel once, with real parts.")
    parser.add_argument("--data", type=Path, default=ROOT / "samples" / "trees.jsonl", help="Open-Assistant JSONL")
    parser.add_argument("--recipe", type=Path, default=ROOT / "jobs" / "configs" / "laptop.json", help="job to launch")
    chosen = parser.parse_args()
    try:
        main(chosen.data, chosen.recipe)
    except OaError as error:
        sys.exit(f"error {error.code}: {error.message}")
