"""OpenAI's form of chat: what a request may say, and how answers, chunks and errors look.

Form: https://platform.openai.com/docs/api-reference/chat. Beyond it: `top_k`, `min_p`, `repetition_penalty`,
`continue_final_message` (go on with the last message, an assistant's), `ignore_eos`, `timeout` (seconds). What a
request asks and this node cannot do is refused, never silently left out.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from core.errors import BadInput, OaError
from core.ids import new_id
from serving.detokenize import BROKEN
from serving.model_files import ModelFiles
from serving.requests import Request, Sampling, TokenLogprob, Usage

STATUS = {
    "BAD_INPUT": 400, "CONTEXT_TOO_LONG": 400, "UNAUTHENTICATED": 401, "NOT_FOUND": 404, "QUEUE_FULL": 429,
    "UNAVAILABLE": 503, "DEADLINE": 504,
}  # fmt: skip
UNUSED = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls"}
)
"""Fields of OpenAI's form that change nothing in an answer."""

Penalty = Annotated[float, Field(ge=-2, le=2)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TextPart(_Form):
    """A part of a message: text is the only kind that the models read."""

    type: Literal["text"]
    text: str


class ChatMessage(_Form):
    """One message."""

    role: Literal["system", "developer", "user", "assistant"]
    content: list[TextPart]
    """A string means one text part."""
    name: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _one_part(cls, value: Any) -> Any:
        if not isinstance(value, str | list):
            raise ValueError("must be a string or a list of text parts")
        return [{"type": "text", "text": value}] if isinstance(value, str) else value

    def plain(self) -> dict[str, str]:
        """As templates read it."""
        text = "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(_Form):
    """What to add to a stream."""

    include_usage: bool = False
    include_obfuscation: bool = False


class ChatRequest(_Form):
    """The body of `POST /v1/chat/completions`."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=16)] = 1
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(None, max_length=8)
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] | None = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    presence_penalty: Penalty | None = 0.0
    frequency_penalty: Penalty | None = 0.0
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    continue_final_message: bool = False
    ignore_eos: bool = False
    timeout: Annotated[float, Field(gt=0)] | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> ChatRequest:
        if self.continue_final_message and self.messages[-1].role != "assistant":
            raise ValueError(f"continue_final_message needs a last message of assistant, not {self.messages[-1].role}")
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs to be true")
        return self

    def sampling(self, index: int) -> Sampling:
        """Settings of choice `index`; with a seed each choice has its own."""
        return Sampling(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=self.top_p or 1.0,
            top_k=self.top_k,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            seed=None if self.seed is None else self.seed + index,
        )


def parse(body: bytes) -> ChatRequest:
    """A chat request from its bytes.

    Raises:
        BadInput: naming the field and what it should be.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadInput("the body must be a JSON object with `model` and `messages`")
    try:
        return ChatRequest.model_validate({key: item for key, item in value.items() if key not in UNUSED})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = tuple(str(part) for part in first["loc"])
        raise BadInput(f"{'.'.join(path) or 'body'}: {first['msg']}", path=path) from error


def to_requests(chat: ChatRequest, files: ModelFiles, *, max_tokens: int, most_seconds: float) -> list[Request]:
    """One engine request for each choice: template and tokenizer at work.

    Args:
        chat: what was asked.
        files: of the model that answers.
        max_tokens: of a reply, where the request names none.
        most_seconds: until its deadline, at most.
    """
    messages = [message.plain() for message in chat.messages]
    text = files.template.render(messages, continue_final=chat.continue_final_message)
    prompt = tuple(files.tokenizer.encode(text, add_special_tokens=False).ids)
    return [
        Request(
            prompt=prompt,
            max_tokens=chat.max_completion_tokens or chat.max_tokens or max_tokens,
            sampling=chat.sampling(index),
            stop=tuple(chat.stop or ()),
            logprobs=(chat.top_logprobs or 0) if chat.logprobs else None,
            deadline=time.monotonic() + min(chat.timeout or most_seconds, most_seconds),
            ignore_eos=chat.ignore_eos,
        )
        for index in range(chat.n)
    ]


class Shape:
    """The answers to one request: whole or in chunks.

    Args:
        model: `name@version`.
        files: for the text of tokens in log-probabilities.
    """

    def __init__(self, model: str, files: ModelFiles) -> None:
        self._files = files
        self._common = {"id": f"chatcmpl-{new_id()}", "created": int(time.time()), "model": model}

    def chunk(self, index: int, delta: dict[str, Any], finish: str | None, logprobs: tuple[TokenLogprob, ...]) -> bytes:
        """One server-sent event with a piece of choice `index`."""
        choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": self._logprobs(logprobs)}
        return sse({**self._common, "object": "chat.completion.chunk", "choices": [choice]})

    def usage_chunk(self, usages: list[Usage]) -> bytes:
        """The server-sent event with the tokens used."""
        return sse({**self._common, "object": "chat.completion.chunk", "choices": [], "usage": usage_form(usages)})

    def whole(
        self, texts: list[str], finishes: list[str], logprobs: list[list[TokenLogprob]], usages: list[Usage]
    ) -> dict[str, Any]:
        """The answer to a request without streaming."""
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": text},
                "finish_reason": finishes[index],
                "logprobs": self._logprobs(tuple(logprobs[index])),
            }
            for index, text in enumerate(texts)
        ]
        return {**self._common, "object": "chat.completion", "choices": choices, "usage": usage_form(usages)}

    def _logprobs(self, items: tuple[TokenLogprob, ...]) -> dict[str, Any] | None:
        if not items:
            return None
        return {
            "content": [
                {
                    **self._token(item.token, item.logprob),
                    "top_logprobs": [self._token(token, value) for token, value in item.top],
                }
                for item in items
            ]
        }

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        """A token that is a part of a character has no text of its own, hence no bytes that could be told."""
        text: str = self._files.tokenizer.decode([token], skip_special_tokens=False)
        return {"token": text, "logprob": logprob, "bytes": None if BROKEN in text else list(text.encode())}


def usage_form(usages: list[Usage]) -> dict[str, Any]:
    """Tokens used by all choices; their common prompt counts once."""
    prompt, generated = usages[0].prompt, sum(usage.generated for usage in usages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "prompt_tokens_details": {"cached_tokens": usages[0].cached},
    }


def sse(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


def status_of(error: OaError) -> int:
    """The HTTP status of an error."""
    if error.code == "NO_MODEL":
        return 503 if error.retry_after is not None else 404
    return STATUS.get(error.code, 400)


def error_form(error: OaError, request_id: str) -> dict[str, Any]:
    """An error in OpenAI's form, with our code."""
    status = status_of(error)
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    return {
        "error": {
            "message": error.message, "type": kind, "param": ".".join(error.path) or None, "code": error.code,
            "request_id": request_id,
        }
    }  # fmt: skip
