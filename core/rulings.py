"""What moderators decide about messages and trees: taken out, put back, accepted, refused, halted, let go on.

Every act is one guarded write to the message or tree, which carries who, why and when; then the journal; then the tree
is settled, so that verdicts, ranks, counts and open work follow. All may be repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from core.advance import unranked
from core.config import CollectionConfig
from core.database import Database
from core.errors import BadInput, Conflict, Forbidden, NotFound, OaError
from core.facts import Facts, load, mark, move_tree
from core.journal import record
from core.moderation_queue import close, close_about, item, waits_for_answer
from core.moderation_records import ACTS, MOST, Outcome, check_moderator, may_moderate
from core.pages import many, one
from core.records import Message, Tree, User, milliseconds, now
from core.rules import rules_of
from core.settle import settle

REASON_LIMIT = 4096
"""Characters of a reason."""
ATTEMPTS = 100


async def rewrite(database: Database, message_id: str, change: Callable[[Message], Message]) -> tuple[Message, Message]:
    """Replace a message by `change` of it in one guarded write; the message before and after."""
    for _ in range(ATTEMPTS):
        before = await one(database, "messages", Message, message_id)
        after = change(before)
        if after == before:
            return before, before
        after = replace(after, rev=before.rev + 1)
        document = after.to_document()
        del document["_id"]
        result = await database["messages"].update_one({"_id": message_id, "rev": before.rev}, {"$set": document})
        if result.matched_count == 1:
            return before, after
    raise Conflict(f"message {message_id} changes too fast; try again")


def ruled(message: Message, act: str, reason: str, by: str, verdict: str | None) -> dict[str, Any]:
    """The `ruling` of a message after one more act."""
    number = 1 + (message.ruling or {}).get("number", 0)
    return {"act": act, "verdict": verdict, "reason": reason, "by": by, "at": milliseconds(now()), "number": number}


def _standing(message: Message) -> str | None:
    return None if message.ruling is None else message.ruling["verdict"]


def deleted(message: Message, reason: str, by: str) -> Message:
    """`message` taken out by a moderator; itself where it was already."""
    if message.removed in ("moderator", "author", "account") or (message.deleted and message.removed is None):
        return message
    return replace(
        message, deleted=True, removed="moderator", ruling=ruled(message, "delete", reason, by, _standing(message))
    )


def restored(message: Message, reason: str, by: str) -> Message:
    """`message` put back, its flags so far dealt with; itself where it is in.

    Raises:
        Conflict: its author took it back.
    """
    if message.removed in ("author", "account"):
        raise Conflict(f"message {message.id} was taken back by its author; only others' acts can be undone")
    if not message.deleted:
        return message
    cleared = message.cleared | {"red_flag": message.emojis.get("red_flag", 0)}
    ruling = ruled(message, "restore", reason, by, _standing(message))
    return replace(message, deleted=False, removed=None, cleared=cleared, ruling=ruling)


def judged(message: Message, verdict: str, reason: str, by: str) -> Message:
    """`message` with a moderator's verdict in place of its peers'; itself where that stands already."""
    if _standing(message) == verdict:
        return message
    act = "accept" if verdict == "accepted" else "refuse"
    cleared = message.cleared
    if verdict == "accepted":
        cleared = cleared | {"red_flag": message.emojis.get("red_flag", 0)}
    return replace(message, state=verdict, cleared=cleared, ruling=ruled(message, act, reason, by, verdict))


async def delete_message(
    database: Database, config: CollectionConfig, moderator: User, message_id: str, reason: str = ""
) -> Message:
    """Take a message and all that follows it out of the tree; nothing is erased. Twice is as once."""
    return await _rule(database, config, moderator, message_id, "delete", reason)


async def restore_message(
    database: Database, config: CollectionConfig, moderator: User, message_id: str, reason: str = ""
) -> Message:
    """Put a message back, the messages above it, and what went out with it; what was taken out by itself stays out."""
    return await _rule(database, config, moderator, message_id, "restore", reason)


async def judge_message(
    database: Database, config: CollectionConfig, moderator: User, message_id: str, verdict: str, reason: str = ""
) -> Message:
    """Accept or refuse a message (`accepted`, `refused`), whatever its peers said."""
    act = {"accepted": "accept", "refused": "refuse"}[verdict]
    return await _rule(database, config, moderator, message_id, act, reason)


async def _rule(
    database: Database, config: CollectionConfig, moderator: User, message_id: str, act: str, reason: str
) -> Message:
    check_moderator(moderator)
    message = await one(database, "messages", Message, message_id)
    check_moderator(moderator, message.lang)
    if act in ("accept", "restore") and message.author_id == moderator.id and not moderator.has_role("admin"):
        raise Forbidden("this message is your own; another moderator must decide for it")
    reason = check_reason(reason)
    changes: dict[str, Callable[[Message], Message]] = {
        "delete": lambda each: deleted(each, reason, moderator.id),
        "restore": lambda each: restored(each, reason, moderator.id),
        "accept": lambda each: judged(each, "accepted", reason, moderator.id),
        "refuse": lambda each: judged(each, "refused", reason, moderator.id),
    }
    await mark(database, message.tree_id)
    if act == "restore":
        for above in (await many(database, "messages", Message, list(message.ancestors))).values():
            if above.deleted:
                await _write(database, above.id, act, changes[act], reason, moderator.id)
    await _write(database, message_id, act, changes[act], reason, moderator.id)
    await mark(database, message.tree_id)
    if act in ("restore", "accept"):
        await _reopen(database, config, message)
    await settle(database, config, message.tree_id)
    await close_about(database, f"message:{message_id}", act, reason, moderator.id)
    return await one(database, "messages", Message, message_id)


async def _write(
    database: Database, message_id: str, act: str, change: Callable[[Message], Message], reason: str, by: str
) -> None:
    before, after = await rewrite(database, message_id, change)
    ruling = after.ruling or {}
    if before != after or ruling.get("act") == act:  # a repetition journals what a crash may have left out
        details, number = {"tree": after.tree_id, "reason": reason}, str(ruling.get("number", 0))
        await record(database, f"{act}_message", message_id, details, by=by, key=number, lang=after.lang)


async def _reopen(database: Database, config: CollectionConfig, message: Message) -> None:
    """Let a tree go on that ended for want of `message`, which is in and not refused again."""
    for _ in range(ATTEMPTS):
        if (facts := await load(database, message.tree_id)) is None:
            return
        rules = await rules_of(database, config, facts.tree.collection)
        if (state := _state_again(facts, message, rules)) == facts.tree.state:
            return
        if await move_tree(database, facts.tree, state) is not None:
            return


def _state_again(facts: Facts, message: Message, config: CollectionConfig) -> str:
    """The state of a tree that has got `message` back: before its end, where it ended without it."""
    tree = facts.tree
    root = next(each for each in facts.messages if each.id == tree.id)
    if tree.state == "ready_for_export":
        line = {message.id, *message.ancestors}
        near = {each.parent_id for each in facts.messages if each.id in line or message.id in each.ancestors}
        return "ranking" if near & unranked(tree, facts.messages, facts.rankings, config) else tree.state
    ended = tree.state == "aborted_low_grade" or (tree.state == "halted_by_moderator" and tree.halt is None)
    if not ended or root.deleted or root.state == "refused":
        return tree.state
    return _state_to_go_on(tree, root)


def _state_to_go_on(tree: Tree, root: Message) -> str:
    if tree.halt is not None and tree.halt["from"] not in ("aborted_low_grade", "halted_by_moderator"):
        return str(tree.halt["from"])
    if tree.won_lottery_at:
        return "growing"
    # What came decided needs no review: it waits in the backlog, where imports and chats come from.
    return "initial_prompt_review" if root.base is None else "backlog_ranking"


async def halt_tree(
    database: Database, config: CollectionConfig, moderator: User, tree_id: str, halt: bool, reason: str = "",
    *, anywhere: bool = False,
) -> Tree:  # fmt: skip
    """Stop a tree, or let a stopped one go on from where it was; skips so far then count no more.

    Args:
        anywhere: whatever its language, as what follows from an act that is bound to none.

    Raises:
        Conflict: the tree has ended, its root is out, or it changed at this moment.
    """
    check_moderator(moderator)
    tree = await one(database, "trees", Tree, tree_id)
    check_moderator(moderator, None if anywhere else tree.lang)
    reason = check_reason(reason)
    if (tree.state == "halted_by_moderator") == halt:
        return tree
    if tree.state in ("aborted_low_grade", "ready_for_export"):
        raise Conflict(f"tree {tree_id} has ended ({tree.state}); only a tree under way can be halted")
    if halt:
        about = {"from": tree.state, "reason": reason, "by": moderator.id}
        moved = await move_tree(database, tree, "halted_by_moderator", halt=about)
    else:
        moved = await _resume(database, tree)
    if moved is None:
        raise Conflict(f"tree {tree_id} changed at this moment; try again")
    details = {"halt": halt, "reason": reason}
    await record(database, "halt_tree", tree_id, details, by=moderator.id, lang=tree.lang)
    await settle(database, config, tree_id)
    await close_about(database, f"tree:{tree_id}", "halt" if halt else "resume", reason, moderator.id)
    return await one(database, "trees", Tree, tree_id)


async def _resume(database: Database, tree: Tree) -> Tree | None:
    root = await one(database, "messages", Message, tree.id)
    if root.deleted:
        raise Conflict(f"the prompt of tree {tree.id} was taken out; restore it, and the tree goes on")
    async for document in database["messages"].find({"tree_id": tree.id}):
        if skips := document["emojis"].get("_skip_reply", 0):
            await rewrite(
                database, document["_id"],
                lambda each, skips=skips: replace(each, cleared=each.cleared | {"_skip_reply": skips}),  # type: ignore[misc]
            )  # fmt: skip
    return await move_tree(database, tree, _state_to_go_on(tree, root), halt=None)


def check_reason(reason: str) -> str:
    """`reason` without white space around it; raises `BadInput` when it is too long."""
    reason = reason.strip()
    if len(reason) > REASON_LIMIT:
        message = f"the reason has {len(reason)} characters; it must have at most {REASON_LIMIT}"
        raise BadInput(message, path=("reason",))
    return reason


async def moderate(
    database: Database, config: CollectionConfig, moderator: User, targets: list[str], act: str, reason: str
) -> list[Outcome]:
    """Do the same to many; what fails for one is in its outcome, and the others go on.

    Args:
        targets: `item:<id>` (then done to its subject), `message:<id>`, `tree:<id>` or `user:<id>` (all messages of
            that person, to delete or restore); 1 to `MOST`.
        act: of `ACTS`; `dismiss` closes what the queue holds and changes nothing else.

    Raises:
        BadInput: act, number of targets or reason is wrong.
        Forbidden: the user is no moderator.
    """
    check_moderator(moderator)
    if act not in ACTS:
        raise BadInput(f"unknown act {act!r}; one of: {', '.join(ACTS)}", path=("action",))
    targets = list(dict.fromkeys(targets))
    if not 1 <= len(targets) <= MOST:
        raise BadInput(f"{len(targets)} targets are named; name 1 to {MOST}")
    reason = check_reason(reason)
    outcomes = []
    for target in targets:
        try:
            await _moderate_one(database, config, moderator, target, act, reason)
            outcomes.append(Outcome(target))
        except OaError as error:
            outcomes.append(Outcome(target, error))
    return outcomes


async def _moderate_one(
    database: Database, config: CollectionConfig, moderator: User, target: str, act: str, reason: str
) -> None:
    kind, _, identity = target.partition(":")
    if kind != "item":
        return await _act(database, config, moderator, kind, identity, act, reason)
    found = await item(database, identity)
    check_moderator(moderator, found.lang)
    if found.claimed_by_other(moderator):
        raise Conflict("another moderator looks at this now")
    if await waits_for_answer(database, found):
        raise Conflict("this is an appeal, whose author waits for an answer; decide it by decideAppeal")
    if act != "dismiss":
        subject_kind = found.subject.partition(":")[0]
        await _act(database, config, moderator, subject_kind, found.subject_id, act, reason)
    elif found.state == "open":
        details = {"reason": reason, "why": found.reason, "of": found.subject.partition(":")[0]}
        key = f"{found.id}|{found.count}"
        await record(database, "dismiss", found.subject_id, details, by=moderator.id, key=key, lang=found.lang)
    await close(database, found.id, act, reason, moderator.id)
    return None


async def _act(
    database: Database, config: CollectionConfig, moderator: User, kind: str, identity: str, act: str, reason: str
) -> None:
    if kind == "user" and act in ("delete", "restore"):
        return await _act_on_all_of(database, config, moderator, identity, act, reason)
    if kind not in ("message", "tree"):
        raise BadInput(f"{act} is no act on a {kind}; name messages or trees, or items about them")
    if act == "dismiss":
        await _dismiss_about(database, moderator, kind, identity, reason)
    elif act in ("halt", "resume"):
        tree_id = identity if kind == "tree" else (await one(database, "messages", Message, identity)).tree_id
        await halt_tree(database, config, moderator, tree_id, act == "halt", reason)
    else:  # of a tree, its prompt
        await _rule(database, config, moderator, identity, act, reason)
    return None


async def _act_on_all_of(
    database: Database, config: CollectionConfig, moderator: User, user_id: str, act: str, reason: str
) -> None:
    """Take out all messages of a person, or put back those that moderators took out; in the moderator's languages."""
    if await database["users"].find_one({"_id": user_id}, {"_id": 1}) is None:
        raise NotFound(f"there is no user {user_id!r}")
    span = {"$gte": f"{user_id}|", "$lt": f"{user_id}}}"}
    found = database["messages"].find({"by_author": span}).sort("by_author")
    for message in [Message.from_document(document) async for document in found]:
        due = not message.deleted if act == "delete" else message.removed == "moderator"
        if due and may_moderate(moderator, message.lang):
            await _rule(database, config, moderator, message.id, act, reason)


async def _dismiss_about(database: Database, moderator: User, kind: str, identity: str, reason: str) -> None:
    lang = (
        (await one(database, "messages", Message, identity)).lang
        if kind == "message"
        else (await one(database, "trees", Tree, identity)).lang
    )
    check_moderator(moderator, lang)
    await record(database, "dismiss", identity, {"reason": reason, "of": kind}, by=moderator.id, lang=lang)
    await close_about(database, f"{kind}:{identity}", "dismiss", reason, moderator.id)
