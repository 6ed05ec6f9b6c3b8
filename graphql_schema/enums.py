"""The closed lists of the contract as enums; their values are the stored names (`core.records`, `core.labels`)."""

from __future__ import annotations

from enum import Enum

import strawberry


def stored(member: Enum) -> str:
    """The stored name of an enum's member."""
    return str(member.value)


@strawberry.enum(description="Who speaks in a message.")
class Role(Enum):
    """Roles of a conversation."""

    PROMPTER = strawberry.enum_value("prompter", description="Asks.")
    ASSISTANT = strawberry.enum_value("assistant", description="Answers.")


@strawberry.enum(description="What reviewers made of a message.")
class MessageState(Enum):
    """Verdicts of review."""

    PENDING = strawberry.enum_value("pending", description="Not reviewed enough yet.")
    ACCEPTED = strawberry.enum_value("accepted", description="Good enough to build on.")
    REFUSED = strawberry.enum_value("refused", description="Spam, in another language, or otherwise unfit.")


@strawberry.enum(description="What took a message out.")
class Removal(Enum):
    """Causes of a deletion."""

    MODERATOR = strawberry.enum_value("moderator", description="A moderator.")
    FLAGS = strawberry.enum_value("flags", description="Red flags by several people.")
    AUTHOR = strawberry.enum_value("author", description="Its author took it back.")
    ACCOUNT = strawberry.enum_value("account", description="Its author left and took everything along.")
    PARENT = strawberry.enum_value("parent", description="The message that it answers is out.")


@strawberry.enum(description="Where a conversation tree is on its way.")
class TreeState(Enum):
    """States of a tree."""

    INITIAL_PROMPT_REVIEW = strawberry.enum_value("initial_prompt_review", description="Its prompt is being reviewed.")
    PROMPT_LOTTERY_WAITING = strawberry.enum_value(
        "prompt_lottery_waiting", description="Its prompt was accepted and waits to be drawn."
    )
    GROWING = strawberry.enum_value("growing", description="Replies are being written and reviewed.")
    RANKING = strawberry.enum_value("ranking", description="Replies are being ranked.")
    READY_FOR_SCORING = strawberry.enum_value(
        "ready_for_scoring", description="All rankings are in; consensus comes next."
    )
    READY_FOR_EXPORT = strawberry.enum_value("ready_for_export", description="Done: ranked and ready for training.")
    SCORING_FAILED = strawberry.enum_value("scoring_failed", description="No consensus could be computed.")
    ABORTED_LOW_GRADE = strawberry.enum_value("aborted_low_grade", description="Its prompt was refused.")
    HALTED_BY_MODERATOR = strawberry.enum_value("halted_by_moderator", description="A moderator ended it.")
    BACKLOG_RANKING = strawberry.enum_value("backlog_ranking", description="Waits for its replies to be ranked.")


@strawberry.enum(description="The eight kinds of work, and one that leaves the choice to chance.")
class TaskKind(Enum):
    """Kinds of task."""

    RANDOM = strawberry.enum_value("random", description="Whatever is needed most, by weighted chance.")
    INITIAL_PROMPT = strawberry.enum_value("initial_prompt", description="Write a prompt that opens a conversation.")
    PROMPTER_REPLY = strawberry.enum_value("prompter_reply", description="Go on as the one who asks.")
    ASSISTANT_REPLY = strawberry.enum_value("assistant_reply", description="Answer as the assistant.")
    RANK_PROMPTER_REPLIES = strawberry.enum_value(
        "rank_prompter_replies", description="Order prompts that follow an answer, best first."
    )
    RANK_ASSISTANT_REPLIES = strawberry.enum_value(
        "rank_assistant_replies", description="Order answers to a prompt, best first."
    )
    LABEL_INITIAL_PROMPT = strawberry.enum_value("label_initial_prompt", description="Review an opening prompt.")
    LABEL_PROMPTER_REPLY = strawberry.enum_value("label_prompter_reply", description="Review a later prompt.")
    LABEL_ASSISTANT_REPLY = strawberry.enum_value("label_assistant_reply", description="Review an answer.")


@strawberry.enum(description="What became of a task.")
class TaskState(Enum):
    """States of a task."""

    OPEN = strawberry.enum_value("open", description="In your hands, until it expires.")
    ANSWERED = strawberry.enum_value("answered", description="Submitted; being worked in.")
    DONE = strawberry.enum_value("done", description="Submitted and worked in.")
    SKIPPED = strawberry.enum_value("skipped", description="You gave it back.")
    EXPIRED = strawberry.enum_value("expired", description="Its time ran out.")


@strawberry.enum(description="What a reviewer may say of a message.")
class LabelName(Enum):
    """Names of labels."""

    SPAM = strawberry.enum_value("spam", description="Spam: off-topic, advertising, nonsense. Must be answered.")
    FAILS_TASK = strawberry.enum_value("fails_task", description="Does not do what was asked.")
    LANG_MISMATCH = strawberry.enum_value("lang_mismatch", description="In another language than it claims.")
    PII = strawberry.enum_value("pii", description="Identifies a private person.")
    NOT_APPROPRIATE = strawberry.enum_value("not_appropriate", description="Not appropriate here.")
    HATE_SPEECH = strawberry.enum_value("hate_speech", description="Hate speech.")
    SEXUAL_CONTENT = strawberry.enum_value("sexual_content", description="Sexual content.")
    MORAL_JUDGEMENT = strawberry.enum_value("moral_judgement", description="Judges morally.")
    POLITICAL_CONTENT = strawberry.enum_value("political_content", description="Takes a political side.")
    QUALITY = strawberry.enum_value("quality", description="From 0, low quality, to 1, high quality.")
    TOXICITY = strawberry.enum_value("toxicity", description="From 0, polite, to 1, rude or toxic.")
    HUMOR = strawberry.enum_value("humor", description="From 0, serious, to 1, humorous.")
    HELPFULNESS = strawberry.enum_value("helpfulness", description="From 0, unhelpful, to 1, helpful.")
    CREATIVITY = strawberry.enum_value("creativity", description="From 0, ordinary, to 1, creative.")
    VIOLENCE = strawberry.enum_value("violence", description="From 0, harmless, to 1, violent.")


@strawberry.enum(description="How a label is asked.")
class LabelWidget(Enum):
    """Widgets of labels."""

    YES_NO = strawberry.enum_value("yes_no", description="Yes (1) or no (0), both to be said.")
    FLAG = strawberry.enum_value("flag", description="Set (1), or not set (0 or left out).")
    LIKERT = strawberry.enum_value("likert", description="Five steps: 0, 0.25, 0.5, 0.75, 1.")


@strawberry.enum(description="The time that a leaderboard counts.")
class LeaderboardFrame(Enum):
    """Time frames of leaderboards."""

    DAY = strawberry.enum_value("day", description="Today, in UTC.")
    WEEK = strawberry.enum_value("week", description="This week, from Monday, in UTC.")
    MONTH = strawberry.enum_value("month", description="This month, in UTC.")
    TOTAL = strawberry.enum_value("total", description="Since the beginning.")


@strawberry.enum(description="What somebody may be.")
class UserRole(Enum):
    """Roles of people and of API clients."""

    CONTRIBUTOR = strawberry.enum_value("contributor", description="Writes, reviews and ranks.")
    TRUSTED = strawberry.enum_value("trusted", description="A contributor of long standing.")
    MODERATOR = strawberry.enum_value("moderator", description="May take messages out.")
    ADMIN = strawberry.enum_value("admin", description="May do everything.")
    SERVICE = strawberry.enum_value("service", description="A program that runs jobs; no contributor.")


@strawberry.enum(description="Around whom a leaderboard is shown.")
class LeaderboardAround(Enum):
    """Whose neighbours."""

    ME = strawberry.enum_value("me", description="You, and those next to you.")
