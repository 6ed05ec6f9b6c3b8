"""Personal data in text that has a form of its own: where it stands, and the text without it.

Pure, and without a model: knows e-mail addresses, telephone numbers, IP addresses, payment cards, bank accounts (IBAN),
United States social security numbers, and URLs that carry credentials. It knows no names, postal addresses or dates of
birth; those need people or a model.

Checksums decide where there are any: Luhn (ISO/IEC 7812-1) for cards, modulo 97 (ISO 13616) for accounts. A telephone
number has none: a form that is hardly anything else counts by itself, a bare group of digits only after a word such as
"call" or "fax". Addresses that belong to nobody (loopback, private networks, documentation) are no personal data.

Threat: texts come from strangers, so every pattern is bounded and starts at the edge of a word; the time is linear.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

KINDS = ("url_credentials", "email", "iban", "credit_card", "ip_address", "us_ssn", "phone")
"""What is looked for; where two overlap, the one named earlier here is kept."""


@dataclass(frozen=True)
class PiiSpan:
    """Personal data at `text[start:end]`; `kind` is one of `KINDS`."""

    kind: str
    start: int
    end: int


def find_pii(text: str) -> tuple[PiiSpan, ...]:
    """The personal data in `text`, in order, without overlaps."""
    found: list[PiiSpan] = []
    for kind in KINDS:
        for start, end in _FINDERS[kind](text):
            if not any(start < other.end and other.start < end for other in found):
                found.append(PiiSpan(kind, start, end))
    return tuple(sorted(found, key=lambda span: span.start))


def scrub(text: str) -> str:
    """`text` with each piece of personal data replaced by its kind in brackets, for instance `[email]`."""
    parts: list[str] = []
    last = 0
    for span in find_pii(text):
        parts += (text[last : span.start], f"[{span.kind}]")
        last = span.end
    return "".join((*parts, text[last:]))


Places = Iterator[tuple[int, int]]

_EMAIL = re.compile(
    r"(?<![\w.%+\-])[\w%+\-]{1,64}(?:\.[\w%+\-]{1,64}){0,7}@(?:[^\W_](?:[\w\-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w\-])"
)
_URL = re.compile(r"(?<![A-Za-z0-9+.\-])[A-Za-z][A-Za-z0-9+.\-]{1,15}://[^\s<>\"'`]{1,2048}")
_USERINFO = re.compile(r"://[^\s/@:]{1,256}:[^\s/@]{1,256}@")
_SECRET = re.compile(
    r"[?&#;](?:access_?token|auth|auth_?token|api_?key|key|passwd|password|pwd|secret|client_?secret|session_?id|sig|"
    r"signature|token|x-amz-signature)=[^&#\s]{4,}",
    re.IGNORECASE,
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ \u00a0\-]?[A-Za-z0-9]{1,4}){3,8}(?![A-Za-z0-9])")
_CARD = re.compile(r"(?<![\w.+\-])\d(?:[ \u00a0\-]?\d){11,18}(?![\w]|[.\-]\d)")
_IP4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)")
_IP6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{2,39}(?:%\w{1,16})?(?![\w:])")
_SSN = re.compile(r"(?<![\w.\-])(?!000|666)\d{3}([ \-])(?!00)\d{2}\1(?!0000)\d{4}(?![\w]|[.\-]\d)")
_SSN_WORD = re.compile(r"\b(?:ssn|social\s+security)\b", re.IGNORECASE)

_PHONE = re.compile(
    r"(?<![\w.,+/(\-#$€£])(?:\+ ?)?\(?\d(?:[ \u00a0.\-/()]{0,3}\d){6,16}(?: ?(?:x|ext\.? ?)\d{1,6})?(?![\w]|[.,]\d)"
)
_PLAIN_FORMS = re.compile(
    r"""
    \+[ ]?(?:\d[ \u00a0.\-/()]{0,3}){8,16}          # +46 (0)157 548 89
    | (?:(?:001|1)[ .\-])?(?:\(\d{3}\)[ ]?|\d{3}[.\-])\d{3}[.\-]\d{4}  # 001-518-640-0854, (579)888-3058
    | 0\d(?:[ \u00a0.\-]\d{2}){4}                    # 03.93.92.16.85
    | 0\d{2,4}(?:[ \u00a0]\d{2,4}){2,3}              # 07700 063 966
    | \(0\d{1,4}\)[ \u00a0]?\d{3,4}[ \u00a0\-]?\d{3,4}       # (08) 8747 6301
    """,
    re.VERBOSE,
)
_PHONE_WORDS = re.compile(
    r"phone|\btel\b|telefon|teléfono|téléphone|\bcall|\bcell\b|mobile|\bfax\b|\bdesk\b|\boffice\b|whats ?app|\bsms\b|"
    r"\btext me\b|answering at|messages? (?:to|on)|registered|reach me|móvil|celular|тел|电话|電話|手机|携帯|هاتف|"
    r"휴대폰|전화",
    re.IGNORECASE,
)
_PHONE_AFTER = re.compile(r"^[ \u00a0\-]{1,3}(?:office|fax|mobile|cell|home|work)\b", re.IGNORECASE)
_NO_PHONE = re.compile(
    r"""
    (?:\d{4}[\-/.]\d{1,2}[\-/.]\d{1,2}|\d{1,2}[\-/.]\d{1,2}[\-/.]\d{2,4})(?:[ ]\d{1,4}.{0,8})?  # dates, with a time
    | (?:1[0-9]|20)\d{2}[ ]?[\-/][ ]?(?:1[0-9]|20)\d{2}     # 1914-1918
    | \d{1,3}(?:[ .]000)+                                    # 10 000 000
    """,
    re.VERBOSE,
)
_CONTEXT = 32
"""Characters before a number in which a word says what it is."""

_COUNTRIES = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
_IBAN_LENGTHS = {country: length for length, countries in _COUNTRIES.items() for country in countries.split()}
"""Length of an account number by country, of the IBAN registry."""


def _emails(text: str) -> Places:
    if "@" in text:
        yield from (match.span() for match in _EMAIL.finditer(text))


def _secret_urls(text: str) -> Places:
    if "://" in text:
        for match in _URL.finditer(text):
            if _USERINFO.search(match[0]) or _SECRET.search(match[0]):
                yield match.start(), match.start() + len(match[0].rstrip(".,;:!?)]}"))


def _ibans(text: str) -> Places:
    for match in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(match[0][:2].upper(), 0)
        if length and (end := _end_of(match[0], length)) and is_iban(match[0][:end]):
            yield match.start(), match.start() + end


def _end_of(text: str, length: int) -> int:
    """Where in `text` its first `length` letters and digits end, if a word ends there; else 0."""
    seen = 0
    for place, character in enumerate(text, start=1):
        seen += character.isalnum()
        if seen == length:
            return 0 if text[place : place + 1].isalnum() else place
    return 0


def is_iban(text: str) -> bool:
    """Whether `text` is an account number whose check digits are right (ISO 13616); spaces and hyphens are ignored."""
    compact = re.sub(r"[\W_]", "", text).upper()
    if not compact.isascii() or len(compact) != _IBAN_LENGTHS.get(compact[:2]):
        return False
    return int("".join(str(int(each, 36)) for each in compact[4:] + compact[:4])) % 97 == 1


def _cards(text: str) -> Places:
    return (match.span() for match in _CARD.finditer(text) if is_card(match[0]))


def is_card(text: str) -> bool:
    """Whether the digits of `text` are a payment card's number: issuer, length and check digit (ISO/IEC 7812-1)."""
    digits = [int(each) for each in text if each.isdigit()]
    if not 12 <= len(digits) <= 19 or len(set(digits)) == 1 or not _has_issuer("".join(map(str, digits))):
        return False
    doubled = (2 * digit - 9 * (digit > 4) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _has_issuer(number: str) -> bool:
    """The networks' ranges: Visa, Mastercard, American Express, Diners, JCB, Discover, UnionPay, Maestro, Mir."""
    if len(number) < 15:
        return number[:1] == "4" or number[:2] in ("30", "36", "38", "39", "50") or "56" <= number[:2] <= "69"
    if len(number) > 16:
        return number[0] in "46"
    return number[0] in "3456" or number[:4] in ("1800", "2131") or "2200" <= number[:4] <= "2720"


def _addresses(text: str) -> Places:
    for pattern in (_IP4, _IP6):
        for match in pattern.finditer(text):
            if _belongs_to_someone(match[0]):
                yield match.span()


def _belongs_to_someone(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    nobody = parsed.is_private or parsed.is_loopback or parsed.is_link_local or parsed.is_multicast
    if isinstance(parsed, ipaddress.IPv4Address):
        # 1.2.3.4 is a version or an example far more often than an address.
        return not (nobody or parsed.is_unspecified or parsed.is_reserved or all(part < 20 for part in parsed.packed))
    return not nobody and not parsed.is_unspecified and address.count(":") > 2


def _social_security(text: str) -> Places:
    for match in _SSN.finditer(text):
        if match[1] == "-" or _SSN_WORD.search(text[max(0, match.start() - _CONTEXT) : match.start()]):
            yield match.span()


def _phones(text: str) -> Places:
    for match in _PHONE.finditer(text):
        number = re.split(r" ?(?:x|ext)", match[0])[0].strip()
        if _NO_PHONE.fullmatch(number) or not 7 <= sum(map(str.isdigit, number)) <= 15:
            continue
        if _PLAIN_FORMS.fullmatch(number) or _called_phone(text, *match.span()):
            yield match.span()


def _called_phone(text: str, start: int, end: int) -> bool:
    before = text[max(0, start - _CONTEXT) : start]
    return bool(_PHONE_WORDS.search(before) or _PHONE_AFTER.match(text[end : end + 12]))


_FINDERS: dict[str, Callable[[str], Places]] = {
    "url_credentials": _secret_urls,
    "email": _emails,
    "iban": _ibans,
    "credit_card": _cards,
    "ip_address": _addresses,
    "us_ssn": _social_security,
    "phone": _phones,
}
