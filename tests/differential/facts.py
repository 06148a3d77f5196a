"""What can be seen in a token: read leniently, so that rules can speak of what is wrong with it."""

from __future__ import annotations

import base64
import json
import math
import re
from functools import cached_property

STRICT = re.compile(r"[A-Za-z0-9_-]*\Z")
TOKEN68 = re.compile(r"[A-Za-z0-9._~+/=-]+\Z")
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class Facts:
    """One token's text, and its header and claims where anything can be made of them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts = text.split(".")

    @cached_property
    def header(self) -> Document:
        return Document(lenient(self.parts[0]))

    @cached_property
    def claims(self) -> Document:
        return Document(lenient(self.parts[1] if len(self.parts) > 1 else ""))

    @property
    def documents(self) -> list[Document]:
        return [self.header, self.claims]

    @property
    def is_bearer_syntax(self) -> bool:
        return bool(TOKEN68.match(self.text))

    @property
    def is_strict_base64(self) -> bool:
        return all(is_strict(part) for part in self.parts)


class Document:
    """Header or claims."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.twice = self.constants = False
        self.most_members = 0
        self.value = None
        try:
            self.text = data.decode("utf-8-sig")
            self.value = json.loads(
                self.text, object_pairs_hook=self.members, parse_constant=self.constant)
        except (ValueError, RecursionError):
            self.text = data.decode("utf-8", "replace")

    def members(self, pairs: list[tuple[str, object]]) -> dict:
        self.twice |= len({name for name, _ in pairs}) < len(pairs)
        self.most_members = max(self.most_members, len(pairs))
        return dict(pairs)

    def constant(self, name: str) -> float:
        self.constants = True
        return float(name.replace("Infinity", "inf"))

    def __contains__(self, name: str) -> bool:
        return isinstance(self.value, dict) and name in self.value

    def __getitem__(self, name: str) -> object:
        return self.value[name] if name in self else None

    @cached_property
    def depth(self) -> int:
        """Of brackets outside of strings; told of texts that are no JSON too."""
        deepest = depth = 0
        for character in re.sub(r'"(?:[^"\\]|\\.)*"', "", self.text):
            depth += (character in "[{") - (character in "]}")
            deepest = max(deepest, depth)
        return deepest

    @property
    def is_utf8(self) -> bool:
        try:
            self.data.decode()
        except UnicodeDecodeError:
            return False
        return True

    @property
    def has_mark(self) -> bool:
        return self.data.startswith(b"\xef\xbb\xbf")

    @property
    def has_lone_surrogate(self) -> bool:
        return any(re.search("[\ud800-\udfff]", text) for text in strings(self.value))

    @property
    def has_huge_number(self) -> bool:
        return any(math.isinf(number) for number in numbers(self.value)) and not self.constants


def strings(value: object):
    for name, item in walk(value):
        yield from (text for text in (name, item) if isinstance(text, str))


def numbers(value: object):
    for _, item in walk(value):
        if isinstance(item, float):
            yield item


def walk(value: object, name: str = ""):
    """Every value with the name of its member; without recursion, because tests nest deeply."""
    waiting: list[tuple[str, object]] = [(name, value)]
    while waiting:
        name, value = waiting.pop()
        yield name, value
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += (("", item) for item in value)


def is_strict(part: str) -> bool:
    """Base64url as RFC 7515 has it: its alphabet, no padding, unused bits zero."""
    if not STRICT.match(part) or len(part) % 4 == 1:
        return False
    unused = {2: 15, 3: 3}.get(len(part) % 4, 0)
    return not (unused and DIGITS.index(part[-1]) & unused)


def lenient(part: str) -> bytes:
    """What a forgiving decoder makes of it."""
    kept = re.sub(r"[^A-Za-z0-9_-]", "", part.replace("+", "-").replace("/", "_"))
    kept = kept[:-1] if len(kept) % 4 == 1 else kept
    return base64.urlsafe_b64decode(kept + "=" * (-len(kept) % 4))
