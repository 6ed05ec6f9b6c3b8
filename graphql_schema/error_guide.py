"""What a caller does about each error code, and where it arises: what docs/api/errors.md is made of.

Knows codes and words. `core.errors.CODES` says what each means; a test holds that every code is here, that the places
exist and that the code is raised somewhere.
"""

from __future__ import annotations

from typing import NamedTuple

from core.errors import CODES


class Guide(NamedTuple):
    """How to deal with one code.

    Attributes:
        do: what the caller does.
        example: where it arises; a field of the API or a command of `oa` stands in backquotes.
    """

    do: str
    example: str


GUIDES: dict[str, Guide] = {
    "BAD_INPUT": Guide(
        "Correct the field that `path` names; the message says the right form. The same request fails again.",
        "`createChat` with a title of 101 characters; `leaderboard` with `first: 0`.",
    ),
    "BAD_LABELS": Guide(
        "Send every label that the task lists as mandatory, each once, with a value in its range.",
        "`submitReview` without `SPAM`.",
    ),
    "BAD_QUERY": Guide(
        "It is a defect of the client: correct the document or the variables. Where a limit is named, ask in two "
        "requests.",
        "An unknown field in `viewer`; a document of 1,001 tokens; `node` without an `id`.",
    ),
    "BAD_RANKING": Guide(
        "Send ids of the replies that the task served, each once: all of them, or, in weighted mode, two or more.",
        "`submitRanking` with an id twice.",
    ),
    "BAD_RECORD": Guide(
        "Correct the line that the message names, and import again: what was imported already is passed over.",
        "`oa import` of a file with a tree without a root.",
    ),
    "BAD_SPEC": Guide(
        "Correct the specification; docs/job-spec.schema.json is its form.",
        "`launchJob` with two stages of one name.",
    ),
    "BUCKET_MISSING": Guide(
        "Make the bucket, or correct `OA_S3_BUCKET`.",
        "`oa snapshot` against an object store that has no such bucket.",
    ),
    "CONFLICT": Guide(
        "Read the thing again and decide anew. What was meant may have been done.",
        "`editContribution` of a message that reviewers have begun to look at; another answer to a task that was "
        "answered.",
    ),
    "CONTEXT_TOO_LONG": Guide(
        "Begin another chat, or send less.",
        "`chatReply` of a conversation that is longer than the model reads; it comes as the reply's failure.",
    ),
    "CORRUPT": Guide(
        "Tell the operator: stored bytes were changed or cut. Nothing that is wrong was used.",
        "`oa models pull` of a version whose file was changed.",
    ),
    "DEADLINE": Guide(
        "Ask for less at once. A mutation may have been done: send it again with the same `idempotencyKey`. After a "
        "subscription's hour, subscribe again.",
        "`similarTexts` on a store that is overloaded; `taskAvailable` that was open for an hour.",
    ),
    "DUPLICATE_TEXT": Guide(
        "Have the person write something else.",
        "`submitPrompt` of the text that the same person sent ten minutes ago.",
    ),
    "FORBIDDEN": Guide(
        "Offer the person only what their roles allow (`viewer { roles }`); ask for the scope that the message names. "
        "On a stream: subscribe again, rights have changed.",
        "`moderationQueue` as a contributor; `jobs` with a token of the scope `read`.",
    ),
    "GATE_FAILED": Guide(
        "Look at the checks of the model or job that the message names; promote another version.",
        "`promoteModel` of a version whose parity check failed.",
    ),
    "IDEMPOTENCY_CONFLICT": Guide(
        "Use a fresh key for each request that is another one. A secret that was shown once is not shown again.",
        "`sendMessage` with the key of another text.",
    ),
    "INTERNAL": Guide(
        "Try again once; then report it with `correlationId`.",
        "None is known: it stands for what we did not foresee.",
    ),
    "NOTHING_TO_DO": Guide(
        "Ask for another kind or language, or follow `taskAvailable` and ask when there is work.",
        "`requestTask` for a kind of which nothing is open for this person.",
    ),
    "NOT_FOUND": Guide(
        "Treat it as gone: it does not exist, or is not for this person to see.",
        "`sendMessage` to a chat of somebody else.",
    ),
    "NO_MODEL": Guide(
        "Choose one of `models`, or tell the operator that none is promoted.",
        "`promoteModel` of a version that is not there; `chatReply` where none is promoted, as the reply's failure.",
    ),
    "PERSISTED_QUERY_NOT_FOUND": Guide(
        "Send the text once with its hash; client libraries do so by themselves.",
        "`viewer` asked for by a hash that this deployment has not seen.",
    ),
    "PORT_IN_USE": Guide(
        "End the other program, or choose another port.",
        "`oa up` on a machine where port 8000 is taken.",
    ),
    "QUEUE_FULL": Guide(
        "Try again after a while.",
        "`chatReply` while the serving node has all it can hold; it comes as the reply's failure.",
    ),
    "STAGE_CHANGED": Guide(
        "Give the stage another name, or launch a new job.",
        "`oa jobs launch` again with another learning rate under the same job id.",
    ),
    "STAGE_FAILED": Guide(
        "Read the job's last events; correct what they name, and launch again.",
        "`job` whose training ran out of memory.",
    ),
    "TASK_GONE": Guide(
        "Take another task; keep the text for the person.",
        "`submitReply` two hours after the task was taken.",
    ),
    "TERMS_NOT_ACCEPTED": Guide(
        "Show `viewer { terms { url } }`, and send `acceptTerms` when the person agrees.",
        "`requestTask` of somebody who has not accepted the version that holds now.",
    ),
    "TEXT_EMPTY": Guide(
        "Have the person write something.",
        "`submitPrompt` of spaces alone.",
    ),
    "TEXT_TOO_LONG": Guide(
        "Show the limit while the person writes: `maxCharacters` of the task, mostly 2,000.",
        "`submitReply` of 2,001 characters.",
    ),
    "TOO_COSTLY": Guide(
        "Ask for smaller pages or fewer fields; `extensions.cost` says what a document costs.",
        "`trees` with 100 nodes and the messages of each.",
    ),
    "TOO_MANY": Guide(
        "Wait for `retryAfter` seconds where it is given, and try again. Of streams: end one first.",
        "`requestTask` 301 times in a minute; a 51st open `chatReply`; `requestTask` with eight tasks in hand.",
    ),
    "UNAUTHENTICATED": Guide(
        "Renew the token and send the request again; where that fails too, have the person sign in.",
        "`chats` without a token, or with one that is 15 minutes old; any stream whose session was ended.",
    ),
    "UNAVAILABLE": Guide(
        "Try again after `retryAfter` seconds, with the same task or `idempotencyKey`.",
        "`viewer` while the document store does not answer; `taskAvailable` when its server stops.",
    ),
    "UNKNOWN_TASK_KIND": Guide(
        "Use one of the kinds that the message names.",
        "`oa` programs that ask for a kind by a text; the API itself has an enum, `requestTask(kind:)`.",
    ),
}

HEAD = """# Error codes

Written by `make docs`. A code never changes its meaning; new ones come with an entry in the
[changelog](../../CHANGELOG.md). What to do is for programs to do; messages are for people, and may change.

Errors come in two forms. In a mutation's payload: `userErrors { code message path retryAfter }`, the other fields being
null. Everywhere else: `errors[]` with `message`, `path` and `locations` of GraphQL, and `extensions`, which hold

| key | what | when |
| --- | --- | --- |
| `code` | one of the codes below | always |
| `path` | the input field concerned, outermost first | where one is |
| `retryAfter` | seconds after which a retry makes sense | where that is known |
| `correlationId` | finds the line in the server's log | `INTERNAL` alone |

and nothing else. HTTP's status is 200, whatever the code, except: 401 `UNAUTHENTICATED`, 403 `FORBIDDEN` and 503
`UNAVAILABLE` for who the caller is; and with `Accept: application/graphql-response+json`, where nothing was executed,
429 `TOO_MANY`, 504 `DEADLINE`, 400 for other codes.

A request that is refused before its document is looked at is answered in the same form, in the media type of its
`Accept`, and to pages of `OA_CORS_ORIGINS` with the headers that let them read it:

| status | code | why |
| --- | --- | --- |
| 400 | `BAD_INPUT` | a token, key or secret stands in the address |
| 400, 406, 415 | `BAD_QUERY` | it is no JSON object of a request, or wants or has another media type |
| 403 | `FORBIDDEN` | a page of this origin may not call the API |
| 404 | `NOT_FOUND` | there is nothing at that address |
| 405 | `BAD_QUERY` | a method other than GET and POST, or GET for anything but a query |
| 408 | `DEADLINE` | the body did not come in time |
| 413 | `BAD_QUERY` | the body is longer than it may be |
| 421 | `FORBIDDEN` | the API does not answer to that host name |
| 500 | `INTERNAL` | a defect of ours |

Endpoints of OAuth answer in OAuth's form instead, `{"error", "error_description"}`: a body that is too long is
`invalid_request` with 413. A preflight (`OPTIONS`) is answered to browsers, by its headers.
"""
EXTENSIONS = frozenset({"code", "path", "retryAfter", "correlationId"})
"""Keys that the extensions of an error may have."""


def error_page() -> str:
    """docs/api/errors.md: a section for each code, in the order of the alphabet."""
    links = " ·\n".join(f"[`{code}`](#{code.lower()})" for code in sorted(CODES))
    sections = [
        f"## {code}\n\n{CODES[code]}\n\n- What to do: {GUIDES[code].do}\n- For example: {GUIDES[code].example}"
        for code in sorted(CODES)
    ]
    return "\n".join([HEAD, links, "", "\n\n".join(sections), ""])
