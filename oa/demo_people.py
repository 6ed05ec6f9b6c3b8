"""Scripted contributors: what six people's phones would send, from the texts in `samples/contributors.json`.

Knows the script's prompts and replies, and the GraphQL operations of collection. Each contributor takes one task at a
time, as a person would: writes, reviews or ranks, and gives back what is about a conversation that is not in the
script. Does not know the database, nor who else takes part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import OaError
from oa.client import GraphQLClient

SIGN_IN = """mutation SignIn($input: DevelopmentSignInInput!) {
  developmentSignIn(input: $input) { token userErrors { code message path } } }"""

REQUEST_TASK = """mutation RequestTask($input: RequestTaskInput!) {
  requestTask(input: $input) {
    userErrors { code message path }
    task {
      id kind lang
      ... on ConversationTask { thread { text } }
      ... on ReviewTask { message { text } labels { name } }
      ... on RankingTask { replies { id text } }
    } } }"""

SUBMIT_PROMPT = """mutation SubmitPrompt($input: SubmitPromptInput!) {
  submitPrompt(input: $input) { userErrors { code message path } message { id tree { id } } } }"""

SUBMIT_REPLY = """mutation SubmitReply($input: SubmitReplyInput!) {
  submitReply(input: $input) { userErrors { code message path } message { id } } }"""

SUBMIT_REVIEW = """mutation SubmitReview($input: SubmitReviewInput!) {
  submitReview(input: $input) { userErrors { code message path } } }"""

SUBMIT_RANKING = """mutation SubmitRanking($input: SubmitRankingInput!) {
  submitRanking(input: $input) { userErrors { code message path } } }"""

SKIP_TASK = """mutation SkipTask($input: SkipTaskInput!) {
  skipTask(input: $input) { userErrors { code message path } } }"""

TREE_STATE = "query TreeState($id: ID!) { node(id: $id) { ... on Tree { state } } }"

WORK = ("RANK_ASSISTANT_REPLIES", "LABEL_INITIAL_PROMPT", "LABEL_ASSISTANT_REPLY", "ASSISTANT_REPLY")
"""Kinds of task that the script has something to say to, in the order in which they are asked for."""

QUALITY = {"best": 1.0, "fair": 0.6, "poor": 0.1}


@dataclass
class Script:
    """What there is to be said, and what has been said already."""

    prompts: list[dict[str, Any]]
    said: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> Script:
        """The script in a file of the form of `samples/contributors.json`."""
        return cls(json.loads(path.read_text("utf-8"))["prompts"])

    def prompt(self, text: str) -> dict[str, Any] | None:
        """The prompt with that text, if it is in the script."""
        return next((prompt for prompt in self.prompts if prompt["text"] == text), None)

    def next_reply(self, prompt: dict[str, Any]) -> str | None:
        """A reply to `prompt` that nobody has given yet."""
        return next((reply["text"] for reply in prompt["replies"] if reply["text"] not in self.said), None)

    def quality(self, text: str) -> float:
        """How good a text of the script is, from 0 to 1; prompts are fine."""
        replies = (reply for prompt in self.prompts for reply in prompt["replies"])
        return next((QUALITY[reply["quality"]] for reply in replies if reply["text"] == text), 0.75)


@dataclass
class Contributor:
    """One person at one client.

    Args:
        client: signed in as that person.
        langs: languages that this person works in.
        contrary: whether this person likes the worst best; people differ, and consensus must bear it.
    """

    client: GraphQLClient
    script: Script
    langs: Sequence[str]
    contrary: bool = False

    def open_tree(self, prompt: dict[str, Any]) -> str:
        """Post a prompt of the script; returns the id of the tree that it opens."""
        task = self._request("INITIAL_PROMPT", [prompt["lang"]])
        answer = self.client.mutate(SUBMIT_PROMPT, input={"taskId": task["id"], "text": prompt["text"]})
        return str(answer["message"]["tree"]["id"])

    def work(self) -> str | None:
        """Take one task and do it, or give it back; returns its kind, None when there is nothing to do."""
        for kind in WORK:
            try:
                task = self._request(kind, self.langs)
            except OaError as error:
                if error.code != "NOTHING_TO_DO":
                    raise
            else:
                return self._answer(task)
        return None

    def ranking_task_about(self, text: str) -> dict[str, Any]:
        """The ranking task whose conversation begins with `text`; others that come first are given back."""
        while (task := self._request("RANK_ASSISTANT_REPLIES", self.langs))["thread"][0]["text"] != text:
            self._skip(task, "I look for another conversation")
        return task

    def _request(self, kind: str, langs: Sequence[str]) -> dict[str, Any]:
        task: dict[str, Any] = self.client.mutate(REQUEST_TASK, input={"kind": kind, "langs": list(langs)})["task"]
        return task

    def _answer(self, task: dict[str, Any]) -> str:
        prompt = self.script.prompt(task["thread"][0]["text"])
        if prompt is None:
            return self._skip(task, "this conversation is not in my script")
        kind: str = task["kind"]
        match kind:
            case "ASSISTANT_REPLY":
                return self._reply(task, prompt)
            case "RANK_ASSISTANT_REPLIES":
                replies = sorted(
                    task["replies"], key=lambda it: self.script.quality(it["text"]), reverse=not self.contrary
                )
                ranking = [reply["id"] for reply in replies]
                self.client.mutate(SUBMIT_RANKING, input={"taskId": task["id"], "ranking": ranking})
            case _:
                self.client.mutate(SUBMIT_REVIEW, input={"taskId": task["id"], "labels": list(self._labels(task))})
        return kind

    def _reply(self, task: dict[str, Any], prompt: dict[str, Any]) -> str:
        text = self.script.next_reply(prompt)
        if text is None:
            return self._skip(task, "I have nothing to add")
        self.client.mutate(SUBMIT_REPLY, input={"taskId": task["id"], "text": text})
        self.script.said.add(text)
        return str(task["kind"])

    def _labels(self, task: dict[str, Any]) -> Iterator[dict[str, Any]]:
        quality = self.script.quality(task["message"]["text"])
        values = {"SPAM": 0.0, "LANG_MISMATCH": 0.0, "QUALITY": quality, "HELPFULNESS": quality}
        for label in task["labels"]:
            if label["name"] in values:
                yield {"name": label["name"], "value": values[label["name"]]}

    def _skip(self, task: dict[str, Any], reason: str) -> str:
        self.client.mutate(SKIP_TASK, input={"taskId": task["id"], "reason": reason})
        return "SKIPPED"


def sign_in(anyone: GraphQLClient, name: str, *roles: str) -> GraphQLClient:
    """A client signed in by the development sign-in."""
    token = anyone.mutate(SIGN_IN, input={"name": name, "roles": list(roles or ("CONTRIBUTOR",))})["token"]
    return anyone.with_token(token)
