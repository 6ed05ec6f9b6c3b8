"""A flood as moderators see it and stop it, over HTTP."""

from __future__ import annotations

GROUPS = """query ($lang: String) { textGroups(first: 5, hours: 1, people: 4, lang: $lang) {
  nodes { people size lang messages(first: 100) { id text } } edges { cursor } pageInfo { hasNextPage endCursor } } }"""
TEXT = (
    "Write to me at once how one earns a lot of money from home with this one trick that nobody wants you to know, "
    "step by step and with all the numbers, please. Variant {}."
)
LANG = "gd"


def test_a_flood_is_one_group_and_is_stopped_at_once(somebody) -> None:
    for number in range(5):
        person = somebody()
        task = person.do("requestTask", "task { id }", langs=[LANG], kind="INITIAL_PROMPT")["task"]
        person.do("submitPrompt", "message { id }", taskId=task["id"], text=TEXT.format(number))
    moderator = somebody("MODERATOR", "ADMIN")
    page = moderator.ask(GROUPS, lang=LANG)["textGroups"]
    (group,) = page["nodes"]
    assert (group["people"], group["size"], group["lang"]) == (5, 5, LANG)
    first, *others = [message["id"] for message in group["messages"]]
    assert page["pageInfo"] == {"hasNextPage": False, "endCursor": page["edges"][0]["cursor"]}
    beyond = f'{{ textGroups(first: 1, people: 4, lang: "{LANG}", after: "{page["pageInfo"]["endCursor"]}") '
    assert moderator.ask(beyond + "{ nodes { size } } }") == {"textGroups": {"nodes": []}}
    elsewhere = somebody("MODERATOR")
    moderator.do("setModeratorLanguages", userId=elsewhere.user_id, langs=["fi"])
    assert elsewhere.ask(GROUPS, lang=LANG)["textGroups"]["nodes"] == []
    asked = "query ($id: ID!) { similarTexts(messageId: $id) { similarity message { id } } }"
    alike = moderator.ask(asked, id=first)["similarTexts"]
    assert {each["message"]["id"] for each in alike} == set(others)
    assert all(0.8 <= each["similarity"] <= 1 for each in alike)
    stopped = moderator.do(
        "moderate", "results { done }", action="DELETE", messageIds=[first, *others], reason="a flood"
    )
    assert [each["done"] for each in stopped["results"]] == [True] * 5


def test_contributors_see_no_groups_and_bad_values_are_told(somebody) -> None:
    error = somebody().refused(GROUPS, lang=LANG)
    assert error["extensions"]["code"] == "FORBIDDEN"
    moderator = somebody("MODERATOR", "ADMIN")
    for hours, people, named in ((0, 4, "hours"), (10_000, 4, "hours"), (1, 1, "people")):
        document = f"{{ textGroups(first: 1, hours: {hours}, people: {people}) {{ nodes {{ size }} }} }}"
        error = moderator.refused(document)
        assert (error["extensions"]["code"], named in error["message"]) == ("BAD_INPUT", True)
