"""A whole tree through the store: prompt, review, lottery, replies, reviews, rankings, consensus, credits."""

from __future__ import annotations

from core_people import until_ranking

from core.config import CollectionConfig
from core.errors import NothingToDo
from core.leaderboard import leaderboard, standing


async def test_a_tree_goes_from_prompt_to_export(collection, person, config: CollectionConfig) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid", "dan", "eve", "fay")]
    tree_id = await until_ranking(collection, people)
    messages = await collection.messages_of(tree_id)
    assert len([message for message in messages if message.usable]) >= config.goal_tree_size
    ranked = 0
    for user in people:
        try:
            task = await collection.request_task(user, "rank_assistant_replies", ["en"])
        except NothingToDo:
            continue
        await collection.submit_ranking(user, task.id, sorted(task.served))
        ranked += 1
    assert ranked == config.num_required_rankings
    tree = await collection.tree(tree_id)
    assert (tree.state, tree.dirty) == ("ready_for_export", False)
    siblings = [each for each in await collection.messages_of(tree_id) if each.depth == 1]
    assert sorted(each.rank for each in siblings) == [0, 1]
    best = min(siblings, key=lambda each: each.rank)
    assert best.id == min(each.id for each in siblings)
    assert await collection.database["work"].count_documents({"tree_id": tree_id}) == 0
    # Whoever wrote the best reply was ranked first twice.
    author = next(user for user in people if user.id == best.author_id)
    own = await standing(collection.database, author, "total")
    assert own.counts["ranked_1"] == 2
    board = await leaderboard(collection.database, "total", 3)
    assert board[0].points == max(each.points for each in board)
    assert [each.rank for each in board] == [1, 2, 3]
    states = [each["details"]["to"] async for each in collection.database["events"].find({"kind": "tree_state"})]
    assert sorted(states) == ["prompt_lottery_waiting", "ranking", "ready_for_export"]
