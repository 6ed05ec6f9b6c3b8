"""Who may look for authors and words, and where."""

from __future__ import annotations

import secrets

FIND = """query ($author: ID, $search: String) {
  messages(first: 10, authorId: $author, search: $search) { nodes { id author { id } } } }"""
PERSON = "query ($id: ID!) { person(id: $id) { signsInWith messages(first: 5) { nodes { id } } } }"


def test_authors_and_words_are_searched_by_moderators_in_their_languages(somebody) -> None:
    author, word = somebody(), f"q{secrets.token_hex(6)}"
    task = author.do("requestTask", "task { id }", langs=["gd"], kind="INITIAL_PROMPT")["task"]["id"]
    message = author.do("submitPrompt", "message { id }", taskId=task, text=f"What is {word}?")["message"]["id"]
    admin, moderator, elsewhere = somebody("ADMIN"), somebody("MODERATOR"), somebody("MODERATOR")
    admin.do("setModeratorLanguages", userId=elsewhere.user_id, langs=["fi"])
    for asked in ({"author": author.user_id}, {"search": word.upper()}):
        (found,) = moderator.ask(FIND, **asked)["messages"]["nodes"]
        assert (found["id"], found["author"]["id"]) == (message, author.user_id)
        assert elsewhere.ask(FIND, **asked)["messages"]["nodes"] == []
        error = author.refused(FIND, **asked)
        assert (error["extensions"]["code"], "moderators" in error["message"]) == ("FORBIDDEN", True)
    skips = "query ($id: ID!) { node(id: $id) { ... on Message { skips { reason } } } }"
    assert moderator.ask(skips, id=message)["node"]["skips"] == []
    for other in (author, elsewhere):
        assert other.ask(skips, id=message)["node"]["skips"] is None
    assert moderator.ask(PERSON, id=author.user_id)["person"] == {
        "signsInWith": None, "messages": {"nodes": [{"id": message}]},
    }  # fmt: skip
    assert elsewhere.ask(PERSON, id=author.user_id)["person"]["messages"]["nodes"] == []
    assert admin.ask(PERSON, id=author.user_id)["person"]["signsInWith"] == ["development"]
    assert author.refused(PERSON, id=author.user_id)["extensions"]["code"] == "FORBIDDEN"
