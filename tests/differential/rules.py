"""Why airside differs: every disagreement with a library must be one of these.

A rule looks at the token, not at how it was made. It explains a disagreement when its predicate
holds, airside gave one of its reasons, and nobody differs but the libraries that it names.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from facts import Facts

PYJWT, JOSERFC, JOSE = "PyJWT", "joserfc", "jose"
ALL = frozenset({PYJWT, JOSERFC, JOSE})
TIMES = ("exp", "nbf", "iat")
KNOWN_TYPES = {"jwt", "at+jwt", "application/jwt", "application/at+jwt"}
HINTS = ("jku", "x5u", "x5c", "x5t", "x5t#S256")


@dataclass(frozen=True)
class Rule:
    """One named difference; airside is the stricter one unless its reason is `accepted`."""

    name: str
    why: str
    reasons: frozenset[str]
    libraries: frozenset[str]
    holds: Callable[[Facts], bool]

    def explains(self, facts: Facts, reason: str, differing: frozenset[str]) -> bool:
        return reason in self.reasons and differing <= self.libraries and self.holds(facts)


def rule(name: str, reasons: str, libraries: frozenset[str], why: str,
         holds: Callable[[Facts], bool]) -> Rule:
    return Rule(name, why, frozenset(reasons.split()), libraries, holds)


def in_either(holds: Callable) -> Callable[[Facts], bool]:
    return lambda facts: any(holds(document) for document in facts.documents)


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def any_time(holds: Callable[[object], bool]) -> Callable[[Facts], bool]:
    return lambda facts: any(name in facts.claims and holds(facts.claims[name]) for name in TIMES)


def is_foreign_type(facts: Facts) -> bool:
    typ = facts.header["typ"]
    return "typ" in facts.header and not (isinstance(typ, str) and typ.lower() in KNOWN_TYPES)


def has_no_name(facts: Facts) -> bool:
    name = facts.claims["sub"]
    return not (isinstance(name, str) and name and all("!" <= letter <= "~" for letter in name))


def has_no_role(facts: Facts) -> bool:
    roles = facts.claims["roles"]
    values = roles if isinstance(roles, list) else [roles]
    return "ops" not in values or not all(isinstance(value, str) for value in values)


def has_odd_audience(facts: Facts) -> bool:
    audience = facts.claims["aud"]
    return isinstance(audience, list) and not all(isinstance(one, str) for one in audience)


def has_hint(facts: Facts) -> bool:
    return any(name in facts.header for name in HINTS)


RULES = [
    # The text.
    rule("bearer-syntax", "credential_malformed", frozenset({JOSE}),
         "a token is token68 (RFC 9110, section 11.2); its decoder skips white space",
         lambda facts: not facts.is_bearer_syntax),
    rule("no-padding", "token_malformed", frozenset({PYJWT, JOSE}),
         "base64url in a JWS has none (RFC 7515, section 2)",
         lambda facts: "=" in facts.text),
    rule("strict-base64url", "token_malformed", frozenset({JOSE}),
         "one token has one spelling: one alphabet, no loose bits (RFC 7515, section 2)",
         lambda facts: not facts.is_strict_base64),
    rule("utf-8", "token_malformed", frozenset({PYJWT, JOSERFC}),
         "JSON is UTF-8 (RFC 8259, section 8.1); Python's reader guesses UTF-16 and UTF-32",
         in_either(lambda document: not document.is_utf8 or b"\0" in document.data)),
    rule("no-byte-order-mark", "token_malformed", ALL,
         "JSON starts without one (RFC 8259, section 8.1)",
         in_either(lambda document: document.has_mark)),
    rule("no-member-twice", "token_malformed", ALL,
         "parsers choose differently between two members of one name (RFC 7519, section 4)",
         in_either(lambda document: document.twice)),
    rule("no-deep-nesting", "token_malformed", ALL,
         "at most 32 levels, so that nobody's parser runs out of stack",
         in_either(lambda document: document.depth > 32)),
    rule("few-members", "token_malformed", ALL,
         "at most 512 members in one object: the search for duplicates stays cheap",
         in_either(lambda document: document.most_members > 512)),
    rule("no-constants", "token_malformed", frozenset({PYJWT, JOSERFC}),
         "NaN and Infinity are Python's, not JSON's (RFC 8259, section 6)",
         in_either(lambda document: document.constants)),
    rule("finite-numbers", "token_malformed", ALL,
         "1e400 is no number that a double can hold; others read infinity",
         in_either(lambda document: document.has_huge_number)),
    rule("whole-characters", "token_malformed", ALL,
         "half of a surrogate pair is no character, and cannot be handed on",
         in_either(lambda document: document.has_lone_surrogate)),
    # The header.
    rule("foreign-typ", "header_unsupported", ALL,
         "another kind of token (DPoP proof, logout token) is not an access token (RFC 8725, 3.11)",
         is_foreign_type),
    rule("no-cty", "header_unsupported", ALL,
         "a nested token is never opened", lambda facts: "cty" in facts.header),
    rule("no-crit", "header_unsupported", ALL,
         "no extension is understood, so every crit is refused (RFC 7515, section 4.1.11)",
         lambda facts: "crit" in facts.header),
    rule("no-b64", "header_unsupported", ALL,
         "the payload is encoded, always (RFC 7797 is not supported)",
         lambda facts: "b64" in facts.header),
    rule("no-zip", "header_unsupported", ALL,
         "a JWS is never compressed", lambda facts: "zip" in facts.header),
    # The keys.
    rule("key-use", "key_unknown", frozenset({PYJWT}),
         "a key published for encryption verifies nothing (RFC 7517, section 4.2)",
         lambda facts: facts.header["kid"] == "for-encryption"),
    rule("key-size", "key_unknown", frozenset({PYJWT, JOSERFC}),
         "RSA below 2048 bits is broken too easily (RFC 7518, section 3.3)",
         lambda facts: facts.header["kid"] == "small"),
    # The claims.
    rule("bound-token", "token_bound", ALL,
         "a token bound to its client's key is no bearer token (RFC 7800)",
         lambda facts: "cnf" in facts.claims),
    rule("audiences-are-strings", "claim_invalid", frozenset({JOSE}),
         "one that is none makes the list wrong (RFC 7519, section 4.1.3)", has_odd_audience),
    rule("times-are-numbers", "claim_invalid", frozenset({PYJWT}),
         "a NumericDate is a JSON number (RFC 7519, section 2); int() takes strings and booleans",
         any_time(lambda value: not is_number(value))),
    rule("times-in-range", "claim_invalid", ALL,
         "seconds from 0 to 2^53, which every reader holds exactly",
         any_time(lambda value: is_number(value) and not 0 <= value < 2**53)),
    rule("not-from-the-future", "token_not_yet_valid", frozenset({JOSE}),
         "a token issued later than now comes from a wrong clock",
         lambda facts: is_number(facts.claims["iat"]) and facts.claims["iat"] > time.time()),
    rule("id-is-a-string", "claim_invalid", frozenset({JOSE}),
         "jti is a string (RFC 7519, section 4.1.7), for whoever compares it",
         lambda facts: "jti" in facts.claims and not isinstance(facts.claims["jti"], str)),
    # Beyond JWT: whom the token names.
    rule("a-user-has-a-name", "claim_missing claim_invalid identity_unsafe", ALL,
         "the user name is there and visible ASCII, because it is handed on in a header",
         has_no_name),
    rule("a-user-has-a-role", "role_missing claim_invalid", ALL,
         "a valid token without a mapped role is not let in", has_no_role),
    # Where one library is the stricter one.
    rule("hints-are-not-read", "accepted", frozenset({JOSERFC}),
         "jku, x5u, x5c, x5t are ignored whatever they are; it checks their form", has_hint),
]
