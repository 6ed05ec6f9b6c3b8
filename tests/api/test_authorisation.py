"""Who gets what: every kind of object and every root field, asked for in the name of each caller, and compared.

Ada owns one of each; what is in them is marked, so that a mark that anybody else finds anywhere is a leak.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)
from running_api import Caller, serving

from core import layout, manifest
from core.database import connect
from core.interchange import import_trees
from core.objects import ObjectStore
from graphql_schema import access, export, nodes
from graphql_schema.relay import global_id, parse_id
from graphql_schema.schema import build_schema

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "trees.jsonl"
SCHEMA = build_schema()._schema
ROOTS = ("Query", "Mutation", "Subscription")
MARK = "mark-of-ada"
CALLERS = ("anonymous", "owner", "other", "trusted", "moderator", "elsewhere", "admin", "service")
NODE = "query ($id: ID!) { node(id: $id) { id } }"


def test_every_type_of_object_has_its_place():
    named = {
        name
        for name, kind in SCHEMA.type_map.items()
        if isinstance(kind, GraphQLObjectType) and not name.startswith("__") and name not in ROOTS
        and not name.endswith(("Payload", "Connection", "Edge"))
    }  # fmt: skip
    assert named - set(access.OBJECTS) == set(), "say in graphql_schema.access who gets it"
    assert set(access.OBJECTS) - named == set()
    assert set(access.NODES) == set(nodes._readers)
    fields = {f"{name}.{field}" for name in named for field in SCHEMA.type_map[name].fields}
    assert set(access.GUARDED) <= fields


def test_others_see_three_things_of_a_person():
    assert set(SCHEMA.type_map["User"].fields) == access.PEOPLE
    assert set(SCHEMA.type_map["Standing"].fields) == {
        "user", "frame", "rank", "points", "total", "level", "nextLevelAt", "counts",
    }  # fmt: skip


class World:
    """An API with everybody in it, and what Ada has: a global id for each kind of object."""

    def __init__(self, anyone: Caller, settings) -> None:
        def named(who: str, *roles: str) -> Caller:
            return anyone.sign_in(f"{who}-{uuid.uuid4().hex[:6]}", *roles)

        self.callers = {
            "anonymous": anyone, "owner": named("ada"), "other": named("bob"), "trusted": named("tom", "TRUSTED"),
            "moderator": named("max", "MODERATOR"), "elsewhere": named("eva", "MODERATOR"),
            "admin": named("root", "ADMIN"), "service": named("robot", "SERVICE"),
        }  # fmt: skip
        for who, lang in (("moderator", "en"), ("elsewhere", "de")):
            self.as_("admin").do("setModeratorLanguages", userId=self.as_(who).user_id, langs=[lang])
        self.ids = {**self._work(), **self._chat(), **self._training(settings), **self._clients()}
        self.ids["User"] = self.as_("owner").user_id
        found = self.as_("admin").ask("{ collections { id } }")["collections"]
        self.ids["Collection"] = found[0]["id"]

    def as_(self, who: str) -> Caller:
        return self.callers[who]

    def _work(self) -> dict[str, str]:
        ada, bob, max_ = self.as_("owner"), self.as_("other"), self.as_("moderator")

        def prompt(text: str) -> dict:
            task = ada.do("requestTask", "task { id }", langs=["en"], kind="INITIAL_PROMPT")["task"]["id"]
            return ada.do("submitPrompt", "message { id tree { id } }", taskId=task, text=text)["message"]

        message = prompt("Why is the sky blue?")
        bob.do("report", messageId=message["id"], reason="rude")
        queue = "{ moderationQueue(first: 100) { nodes { id message { id } } } }"
        items = max_.ask(queue)["moderationQueue"]["nodes"]
        item = next(each["id"] for each in items if (each["message"] or {}).get("id") == message["id"])
        gone = prompt(f"{MARK} Taken out?")
        max_.do("deleteMessage", messageId=gone["id"], reason="a try")
        appeal = ada.do("appeal", "appeal { id }", messageId=gone["id"], text=f"{MARK} why")["appeal"]["id"]
        task = ada.do("requestTask", "task { id }", langs=["en"], kind="INITIAL_PROMPT")["task"]["id"]
        ada.do("saveDraft", taskId=task, text=f"{MARK} draft")
        self.gone = gone["id"]
        return {
            "Message": message["id"], "Tree": message["tree"]["id"], "ModerationItem": item, "Appeal": appeal,
            "Task": task,
        }  # fmt: skip

    def _chat(self) -> dict[str, str]:
        ada = self.as_("owner")
        chat = ada.do("createChat", "chat { id }", title=f"{MARK} chat", systemPrompt=f"{MARK} system")["chat"]["id"]
        said = ada.do("sendMessage", "prompt { id } reply { id }", chatId=chat, text=f"{MARK} said")
        ada.do("stopReply", messageId=said["reply"]["id"])  # there is no node to say it
        return {"Chat": chat, "ChatMessage": said["prompt"]["id"]}

    def _training(self, settings) -> dict[str, str]:
        async def bring_in() -> None:
            client = connect(settings.mongodb_uri)
            with SAMPLES.open("rb") as lines:
                await import_trees(client[settings.mongodb_database], lines, origin="samples")
            await client.close()

        asyncio.run(bring_in())
        admin = self.as_("admin")
        snapshot = admin.do("freezeSnapshot", "snapshot { id name version }", kind="sft", name="sft")["snapshot"]
        dataset = {"name": snapshot["name"], "version": snapshot["version"]}
        stages = [{"kind": "sft", "dataset": dataset}, {"kind": "export"}]
        spec = {"name": "assistant", "base": "tiny", "stages": stages}
        job = admin.do("launchJob", "job { id }", spec=spec)["job"]["id"]
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "onnx").mkdir()
            (Path(name) / "onnx" / "model.onnx").write_bytes(b"model")
            about = {"format": 1, "name": "assistant", "version": "v1", "created_at": "2026-01-01T00:00:00Z",
                     "job_id": "j", "base": "tiny", "checks": {}, "datasets": []}  # fmt: skip
            store = ObjectStore(settings.s3_bucket, settings.s3_endpoint)
            manifest.publish(store, Path(name), layout.model("assistant", "v1"), about)
        return {"Snapshot": snapshot["id"], "Job": job, "Model": global_id("Model", "assistant@v1")}

    def _clients(self) -> dict[str, str]:
        made = self.as_("admin").do(
            "createClient", "client { id }", name="robot", kind="CONFIDENTIAL", grants=["CLIENT_CREDENTIALS"],
            scopes=["READ"],
        )  # fmt: skip
        return {"OAuthClient": made["client"]["id"]}


@pytest.fixture(scope="module")
def world(settings):
    mine = replace(
        settings, mongodb_database=f"{settings.mongodb_database}_access", s3_bucket=f"{settings.s3_bucket}-access"
    )
    with serving(mine) as url:
        yield World(Caller(url), mine)


def found(caller: Caller, node_id: str) -> bool:
    """Whether the caller gets the object; it is null or an error to others, and the error has no word about it."""
    answer = caller.post(NODE, {"id": node_id}).json()
    for error in answer.get("errors", []):
        assert error["extensions"]["code"] in ("UNAUTHENTICATED", "FORBIDDEN"), error
    return answer["data"]["node"] is not None


@pytest.mark.parametrize("kind", sorted(access.NODES))
def test_each_kind_of_object_is_for_its_audience(world, kind):
    may = {who for who in CALLERS if found(world.as_(who), world.ids[kind])}
    assert may == access.AUDIENCES[access.NODES[kind]]


GUARDED = """query ($id: ID!) { node(id: $id) { ... on Message {
    text author { id } labels { value } modelVersion refusedFor replyConsensus { alpha } revisions { text } synthetic
    tree { origin } } } }"""


def test_what_would_sway_a_judge_is_for_the_moderators_of_its_language(world):
    seen = {who: world.as_(who).ask(GUARDED, id=world.ids["Message"])["node"] for who in CALLERS[1:]}
    for who, message in seen.items():
        inside = who in ("moderator", "admin")
        assert (message["author"] is not None) == (inside or who == "owner"), who
        for field in ("labels", "synthetic"):
            assert (message[field] is not None) == inside, (who, field)
        assert message["tree"]["origin"] is None, "it came from nowhere"
        for field in ("refusedFor", "revisions"):
            assert (message[field] is not None) == (inside or who == "owner"), (who, field)
    texts = {who: world.as_(who).ask(GUARDED, id=world.gone)["node"]["text"] for who in CALLERS[1:]}
    assert {who for who, text in texts.items() if text} <= {"owner", "moderator", "admin"}
    assert {"moderator", "admin"} <= {who for who, text in texts.items() if MARK in text}


def test_moderators_of_another_language_cannot_act_on_it(world):
    eva = world.as_("elsewhere")
    for name, given in (
        ("deleteMessage", {"messageId": world.ids["Message"]}),
        ("haltTree", {"treeId": world.ids["Tree"]}),
        ("claimModerationItems", {"itemIds": [world.ids["ModerationItem"]]}),
        ("decideAppeal", {"appealId": world.ids["Appeal"], "uphold": True, "reason": "x"}),
    ):
        extra = "results { done }" if name == "claimModerationItems" else ""
        payload = eva.attempt(name, extra, **given)
        refused = {error["code"] for error in payload["userErrors"]} & {"FORBIDDEN", "NOT_FOUND"}
        assert refused or payload.get("results") == [{"done": False}], (name, payload)


def value_of(kind, ids: dict[str, str], name: str):
    """A value of an input type, with Ada's ids where ids are wanted."""
    if isinstance(kind, GraphQLNonNull):
        return value_of(kind.of_type, ids, name)
    if isinstance(kind, GraphQLList):
        return [value_of(kind.of_type, ids, name)]
    if isinstance(kind, GraphQLEnumType):
        return next(iter(kind.values))
    if isinstance(kind, GraphQLInputObjectType):
        return {
            field: value_of(about.type, ids, field)
            for field, about in kind.fields.items()
            if is_required_input_field(about)
        }
    if kind.name == "ID":
        wanted = {"chatId": "Chat", "taskId": "Task", "jobId": "Job", "treeId": "Tree", "userId": "User",
                  "appealId": "Appeal", "itemIds": "ModerationItem", "clientId": "OAuthClient"}  # fmt: skip
        return ids[wanted.get(name, "ChatMessage")]
    return {"Int": 2, "Float": 0.5, "Boolean": True, "JSON": {}}.get(kind.name, "en")


def selection(kind, depth: int = 3) -> str:
    """Every field of `kind` that needs no argument but `first`, so many levels down."""
    kind = get_named_type(kind)
    if is_leaf_type(kind):
        return ""
    parts = []
    for name, field in kind.fields.items():
        inner = get_named_type(field.type)
        needed = [argument for argument, about in field.args.items() if is_required_argument(about)]
        if needed not in ([], ["first"]) or (depth == 0 and not is_leaf_type(inner)) or name == "edges":
            continue
        parts.append(f"{name}{'(first: 2)' if needed else ''} {selection(inner, depth - 1)}")
    return f"{{ __typename {' '.join(parts)} }}"


def operation(root: str, name: str) -> tuple[str, dict]:
    """A document for one root field with everything that it answers, and its variables."""
    field = getattr(SCHEMA, f"{root}_type").fields[name]
    depth = 3
    while len(chosen := selection(field.type, depth)) > 3000 and depth:
        depth -= 1
    args = {argument: about for argument, about in field.args.items() if is_required_argument(about)}
    declared = ", ".join(f"${argument}: {about.type}" for argument, about in args.items())
    given = ", ".join(f"{argument}: ${argument}" for argument in args)
    head = f"{root} ({declared}) " if args else f"{root} "
    return f"{head}{{ it: {name}{f'({given})' if args else ''} {chosen} }}", {
        argument: about.type for argument, about in args.items()
    }


QUERIES = sorted(SCHEMA.query_type.fields)
MUTATIONS = sorted(set(SCHEMA.mutation_type.fields) - {"developmentSignIn"})
"""Each of them is tried on what is Ada's by somebody who may do it to what is theirs."""


@pytest.mark.parametrize("name", QUERIES)
def test_nothing_of_adas_is_in_what_a_query_answers_to_others(world, name):
    document, kinds = operation("query", name)
    for node in sorted(world.ids) if name in ("node", "chat", "job") else ("Message",):
        variables = {each: value_of(kind, world.ids, each) for each, kind in kinds.items()}
        variables |= {"id": world.ids[node]} if "id" in variables else {}
        for who in ("other", "anonymous", "trusted", "service", "elsewhere"):
            answer = world.as_(who).post(document, variables).json()
            assert all(error["extensions"]["code"] != "INTERNAL" for error in answer.get("errors", [])), answer
            allowed = who == "elsewhere" and name == "moderationQueue"
            assert allowed or MARK not in json.dumps(answer), (name, who)
    mine = world.as_("owner").post(document, variables).json()
    assert all(error["extensions"]["code"] != "INTERNAL" for error in mine.get("errors", [])), mine


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_on_what_is_adas_does_nothing_for_others_and_tells_nothing(world, name):
    document, kinds = operation("mutation", name)
    variables = {each: value_of(kind, world.ids, each) for each, kind in kinds.items()}
    before = world.as_("owner").ask(OWN)
    for who in ("anonymous", "other"):
        caller = world.as_(who)
        if name in ("signOutEverywhere", "deleteAccount") and who == "other":
            caller = world.as_("anonymous").sign_in(f"leaving-{uuid.uuid4().hex[:6]}")
        answer = caller.post(document, variables).json()
        assert all(error["extensions"]["code"] != "INTERNAL" for error in answer.get("errors", [])), answer
        if who == "anonymous":
            assert answer["data"] is None or answer["data"]["it"] is None, answer
            assert {error["extensions"]["code"] for error in answer["errors"]} <= {"UNAUTHENTICATED", "BAD_QUERY"}
        assert MARK not in json.dumps(answer), (name, who)
    assert world.as_("owner").ask(OWN) == before


OWN = """{ viewer { tasks { id draft state } sessions { id } identities { id } roles }
    chats(first: 2) { nodes { id title systemPrompt updatedAt messages(first: 20) { nodes { id text score } } } } }"""


def test_the_matrix_says_what_the_api_does(world):
    """Root fields: a caller whom the matrix denies gets a denial, before anything else is looked at."""
    role_of = {"anonymous": "anonymous", "other": "contributor", "trusted": "trusted", "service": "service"}
    for root, name, field in export.root_fields(build_schema()):
        if root == "Subscription":
            continue
        document, kinds = operation(root.lower(), name)
        variables = {each: value_of(kind, world.ids, each) for each, kind in kinds.items()}
        for who, role in role_of.items():
            if not export.may(field.permission_classes[0], role):
                answer = world.as_(who).post(document, variables).json()
                codes = {error["extensions"]["code"] for error in answer.get("errors", [])}
                assert codes & {"FORBIDDEN", "UNAUTHENTICATED"}, (name, who, answer)


ACTS = "{ events(first: 100) { nodes { kind about } } }"


def test_the_journal_tells_moderators_of_their_languages_and_of_what_was_done_about_people(world):
    person = world.as_("anonymous").sign_in(f"troll-{uuid.uuid4().hex[:6]}")
    world.as_("moderator").do("banUser", userId=person.user_id, reason="spam")
    seen = {
        who: {(each["kind"], each["about"]) for each in world.as_(who).ask(ACTS)["events"]["nodes"]}
        for who in ("admin", "moderator", "elsewhere")
    }
    (_, gone), (_, troll) = parse_id(world.gone), parse_id(person.user_id)
    assert ("delete_message", gone) in seen["moderator"] <= seen["admin"]
    assert {kind for kind, _ in seen["elsewhere"]} <= {"set_enabled", "set_notes"}
    assert ("set_enabled", troll) in seen["elsewhere"] & seen["moderator"]
    assert {kind for kind, _ in seen["admin"]} & {"set_languages", "create_client"}
    assert not {kind for kind, _ in seen["moderator"]} & {"set_languages", "create_client"}
    asked = "query ($id: ID) { events(first: 9, subjectId: $id) { nodes { kind } } }"
    assert world.as_("elsewhere").ask(asked, id=world.gone)["events"]["nodes"] == []
    assert world.as_("moderator").ask(asked, id=world.gone)["events"]["nodes"] != []
