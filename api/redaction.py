"""Takes secrets out of a line before it is written: what looks like one is replaced, wherever it stands.

Threat: logs are read by more people and kept for longer than anything else, and errors of libraries quote what they
were given. So this looks at the whole line and not at fields; it may hide too much, and then the correlation id still
finds the request.
"""

from __future__ import annotations

import re

HIDDEN = "[redacted]"
_NAMES = (
    "authorization|access_token|refresh_token|id_token|token|api_?key|client_secret|code_verifier|secret|"
    "password|passwd|cookie|set-cookie|serving_key|signature|smtp_url|device_code|user_code|csrf"
)
PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Texts in a line of JSON have their line ends as \n, so a key in PEM form is one run of characters.
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), HIDDEN),
    (re.compile(r"\b(oa|oac)_[\w-]{16,}"), HIDDEN),
    (re.compile(r"\boar_[\w.-]{16,}"), HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"\b([a-z][a-z0-9+.-]{1,20}://)[^/\s\"'@]+@"), rf"\1{HIDDEN}@"),
    (re.compile(rf"""(?i)(["']?\b(?:{_NAMES})\b\\?["']?\s*[:=]\s*\\?["']?)(?!\[redacted\])[^\s"'&,;}}\\]+"""),
     rf"\1{HIDDEN}"),
    # An authorization code; `"code": "FORBIDDEN"` is one of ours and stays.
    (re.compile(r"""(?i)(\bcode=)(?!\[redacted\])[^\s"'&,;}\\]+"""), rf"\1{HIDDEN}"),
)  # fmt: skip
"""What is looked for, and what is left of it."""


_DOTTED = re.compile(r"(?<![\w-])[\w-]++(?:\.[\w-]*+)++")
"""Words with dots between them. A signed token is one with `eyJ`, which is how `{"` begins in its alphabet; to look for
that itself takes the square of the length of a line that has it often."""


def _without_tokens(found: re.Match[str]) -> str:
    return HIDDEN if "eyJ" in found[0] else found[0]


def redacted(line: str) -> str:
    """`line` without what looks like a secret; takes time in proportion to its length."""
    line = _DOTTED.sub(_without_tokens, line)
    for pattern, left in PATTERNS:
        line = pattern.sub(left, line)
    return line
