"""Data sets of the Hugging Face hub: their files on this machine.

Knows names (`oasst2`, `hf:OWNER/NAME`, `hf:OWNER/NAME/FILE`) and which files of a data set hold conversation trees. The
hub's own client fetches them, into its own cache, and goes on with what is there already.
"""

from __future__ import annotations

from pathlib import Path

from core.errors import BadInput, Unavailable
from core.sources import SUFFIXES

NAMES = {"oasst1": "hf:OpenAssistant/oasst1", "oasst2": "hf:OpenAssistant/oasst2"}
"""Names that stand for data sets of the hub."""
PREFIX = "hf:"


def is_hub(source: str) -> bool:
    """Whether `source` names a data set of the hub."""
    return source in NAMES or source.startswith(PREFIX)


def fetch(source: str) -> Path:
    """Bring the files of a data set here; returns the file, or the folder that holds them.

    Without a file's name it takes the Parquet files, or where there are none those of lines.

    Raises:
        BadInput: `source` names no data set, or the data set has no such files.
        Unavailable: the hub does not answer, or has no such data set for us.
    """
    identity, file = _parse(source)
    try:
        import httpx2
        from huggingface_hub import HfApi, hf_hub_download
    except ImportError as error:
        raise BadInput(
            "the hub's client is not installed; `pip install 'open-assistant[jobs]'`, or give a file"
        ) from error
    try:
        names = [file] if file else _data_files(HfApi().list_repo_files(identity, repo_type="dataset"), identity)
        paths = [Path(hf_hub_download(identity, name, repo_type="dataset")) for name in names]
    except (OSError, RuntimeError, ValueError, httpx2.HTTPError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise Unavailable(
            f"data set {identity!r} cannot be read from the Hugging Face hub ({type(error).__name__}: {reason}); check "
            "the network, HF_ENDPOINT and HF_TOKEN, or download a .jsonl.gz file of its trees elsewhere and give that"
        ) from error
    return paths[0] if len(paths) == 1 else paths[0].parents[names[0].count("/")] / _common(names)


def _parse(source: str) -> tuple[str, str]:
    owner, _, rest = NAMES.get(source, source).removeprefix(PREFIX).partition("/")
    name, _, file = rest.partition("/")
    if not owner or not name:
        raise BadInput(f"{source!r} names no data set; the form is hf:OWNER/NAME or hf:OWNER/NAME/FILE")
    return f"{owner}/{name}", file


def _data_files(names: list[str], identity: str) -> list[str]:
    rows = [name for name in names if name.endswith(".parquet")]
    found = rows or [name for name in names if name.endswith(SUFFIXES)]
    if not found:
        raise BadInput(f"data set {identity!r} has no file that ends in {', '.join(SUFFIXES)}")
    return sorted(found)


def _common(names: list[str]) -> str:
    """The deepest folder that holds all of `names`."""
    folders = [name.split("/")[:-1] for name in names]
    shared = 0
    while all(len(each) > shared for each in folders) and len({each[shared] for each in folders}) == 1:
        shared += 1
    return "/".join(folders[0][:shared])
