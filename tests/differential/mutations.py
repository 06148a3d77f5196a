"""The ways in which a token is bent: `header` and `claims` change what is signed, `keys` who
signs it, `encoding` how it is written, before or after it is signed. Each says what it did.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from drafts import ISSUER, LEEWAY, SLACK, Draft, Keys, encode

if TYPE_CHECKING:
    from tokens import Generator

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
Mutator = Callable[["Generator", Draft], str]
MUTATORS: dict[str, list[Mutator]] = {"header": [], "claims": [], "keys": [], "encoding": []}


def of(name: str, weight: int = 1) -> Callable[[Mutator], Mutator]:
    def register(mutator: Mutator) -> Mutator:
        MUTATORS[name] += [mutator] * weight
        return mutator

    return register


# Values of every JSON type, for members that must be of one.
ODD = ["null", "true", "false", "0", "-1", "1.5", '""', '" "', '"x"', "[]", "{}", '[""]', "[null]",
       "[[]]", '{"a":1}', '"\\u0000"', "1e400", "18446744073709551616"]


# --- what the header says ---

@of("header", 3)
def another_algorithm(make: Generator, draft: Draft) -> str:
    texts = ['"none"', '"None"', '"NONE"', '"nOnE"', '"rs256"', '"Rs256"', '"RS256 "', '" RS256"',
             '"RS256\\u0000"', '"RS384"', '"RS512"', '"PS256"', '"HS256"', '"ES256"', '"EdDSA"',
             '["RS256"]', '"RSA"', '"\\u0052S256"', *ODD]
    text = make.random.choice(texts)
    draft.set(draft.header, "alg", text)
    if make.random.random() < 0.3:
        draft.sign = lambda message: b""
        return f"alg {text}, no signature"
    return f"alg {text}"


@of("header")
def no_algorithm(make: Generator, draft: Draft) -> str:
    draft.remove(draft.header, "alg")
    return "no alg"


@of("header", 2)
def another_algorithm_truly(make: Generator, draft: Draft) -> str:
    key, keys = draft.key, make.keys
    ways = {
        "RS384": lambda message: keys.rs(key, message, hashes.SHA384),
        "RS512": lambda message: keys.rs(key, message, hashes.SHA512),
        "PS256": lambda message: keys.pss(key, message),
        "ES256": lambda message: keys.curve.sign(message, ec.ECDSA(hashes.SHA256())),
    }
    name = make.random.choice(list(ways))
    draft.set(draft.header, "alg", json.dumps(name))
    draft.sign = ways[name]
    return f"signed with {name}"


@of("header", 2)
def hmac_by_a_public_key(make: Generator, draft: Draft) -> str:
    name = make.random.choice(["HS256", "HS384", "HS512"])
    digest = name.replace("HS", "sha")
    secret = make.random.choice(make.keys.public_forms(draft.key))
    said = make.random.choice([name, name, "RS256"])
    draft.set(draft.header, "alg", json.dumps(said))
    draft.sign = lambda message: hmac.new(secret, message, digest).digest()
    return f"{name} over the public key, said to be {said}"


@of("header", 2)
def another_type(make: Generator, draft: Draft) -> str:
    name = make.random.choice(["typ", "cty"])
    texts = ['"JWS"', '"JOSE"', '"dpop+jwt"', '"logout+jwt"', '"JWE"', '"application/jwt"',
             '"application/at+jwt"', '"AT+JWT"', '"JWT"', '"jwt "', '"text/plain"', *ODD]
    text = make.random.choice(texts)
    draft.set(draft.header, name, text)
    return f"{name} {text}"


@of("header", 2)
def an_extension(make: Generator, draft: Draft) -> str:
    name, texts = make.random.choice([
        ("crit", ["[]", '["exp"]', '["b64"]', '["alg"]', '["kid"]', '["x"]', '"x"',
                  '["b64","b64"]']),
        ("b64", ["true", "false"]),
        ("zip", ['"DEF"', '"GZIP"']),
    ])
    text = make.random.choice(texts + ODD)
    draft.set(draft.header, name, text)
    how = f"{name} {text}"
    if name == "crit" and make.random.random() < 0.5:
        for extension in ("x", "exp"):
            draft.set(draft.header, extension, "1")
        if make.random.random() < 0.5:
            draft.set(draft.header, "b64", make.random.choice(["true", "false"]))
        how += ", and what it names is there"
    return how


@of("header", 2)
def a_key_of_its_own(make: Generator, draft: Draft) -> str:
    rogue = make.keys.jwk("rogue")
    hint = make.random.choice(["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"])
    text = json.dumps(rogue) if hint == "jwk" else make.random.choice(
        ['"https://127.0.0.1:9/keys"', '"file:///etc/passwd"', '["AAAA"]', '"AAAA"', *ODD])
    draft.set(draft.header, hint, text)
    if make.random.random() < 0.5:
        draft.key = "rogue"
        if make.random.random() < 0.5:
            draft.set(draft.header, "kid", '"rogue"')
        return f"{hint} of a key that is not published, signed with it"
    return f"{hint} {text[:40]}, signed with the published key"


@of("header", 2)
def a_header_member_twice(make: Generator, draft: Draft) -> str:
    name, text = make.random.choice([
        ("alg", '"none"'), ("alg", '"RS256"'), ("alg", '"HS256"'), ("kid", '"rogue"'),
        ("kid", json.dumps(draft.key)), ("typ", '"JWT"'), ("x", "1"),
    ])
    if name == "x":
        draft.header.append(["x", "2"])
    at = make.random.choice([0, len(draft.header)])
    # The second spelling is the same name to every JSON parser.
    draft.header.insert(at, [name, text])
    return f"{name} a second time, {text}, {'first' if at == 0 else 'last'}"


@of("header")
def another_case(make: Generator, draft: Draft) -> str:
    name = make.random.choice(["alg", "kid"])
    for member in draft.header:
        if member[0] == name:
            member[0] = make.random.choice([name.upper(), name.title(), name + " "])
    return f"{name} in another spelling"


@of("header")
def an_unknown_member(make: Generator, draft: Draft) -> str:
    name = make.random.choice(["nonce", "exp", "iss", "", "x" * 300, "é", "\u0000", "enc", "epk",
                               "p2c", "url", "svt", "__proto__"])
    text = make.random.choice(ODD)
    draft.set(draft.header, name, text)
    return f"header member {name[:20]!r}: {text}"


# --- what the claims say ---

@of("claims", 4)
def another_time(make: Generator, draft: Draft) -> str:
    name = make.random.choice(["exp", "nbf", "iat"])
    now, near = make.now, make.random.randrange(100)
    past, future = now - LEEWAY - 1 - near, now + LEEWAY + SLACK + near
    numbers = [
        past, future, now - LEEWAY + SLACK, now + LEEWAY, now + 3600, now - 3600, 0, 1, -1, -past,
        2**31 - 1, 2**31, 2**32, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30,
        now * 1000, -(2**63),
    ]
    texts = [str(number) for number in numbers]
    texts += ["-0", "-0.0", "0.5", "-0.5", f"{past}.9", f"{future}.5", f"{now + 3600}.25", "1e9",
              "1e10", "1E10", "1e-9", "1e15", "1e16", "1e300", "1e308", "1e309", "-1e309", "1e999"]
    texts += [f'"{now + 3600}"', f'"{now - 3600}"', f'"{now + 3600}.0"', f'" {now + 3600} "',
              f"[{now + 3600}]", '"never"', '"2030-01-01T00:00:00Z"', *ODD]
    text = make.random.choice(texts)
    draft.set(draft.claims, name, text)
    return f"{name} {text} (now {now})"


@of("claims", 3)
def another_audience(make: Generator, draft: Draft) -> str:
    texts = ['"Airflow"', '"airflow/"', '"airflo"', '"airflow "', '" airflow"', '"airflow,other"',
             '"airflow other"', '"api://airflow/"', '"API://AIRFLOW"', '"\\u0061irflow"',
             '"airfl\\u043ew"', '"airflow\\u0000"', '["airflow",1]', '[1,"airflow"]',
             '["airflow",null]', '["airflow",["x"]]', '[["airflow"]]', '{"airflow":1}',
             '{"0":"airflow"}', '["other"]', '["other","another"]', '["airflow","airflow"]',
             '"*"', '[["airflow"],"airflow"]', '["airflow",{}]', '["airflow",true]', *ODD]
    text = make.random.choice(texts)
    draft.set(draft.claims, "aud", text)
    return f"aud {text}"


@of("claims", 2)
def another_issuer(make: Generator, draft: Draft) -> str:
    texts = [f'"{ISSUER}/"', f'"{ISSUER[:-1]}"', f'"{ISSUER.upper()}"', f'["{ISSUER}"]',
             f'" {ISSUER}"', f'"{ISSUER}\\u0000"', f'{{"{ISSUER}":1}}', '"https:\\/\\/sso.example'
             '\\/realms\\/data"', '"https://evil.example"', '"https"', f'["{ISSUER}","x"]',
             f'"{ISSUER}?x"', *ODD]
    text = make.random.choice(texts)
    draft.set(draft.claims, "iss", text)
    return f"iss {text}"


@of("claims", 2)
def a_claim_is_gone(make: Generator, draft: Draft) -> str:
    name = make.random.choice(["exp", "aud", "iss", "sub", "roles", "iat", "nbf", "jti"])
    draft.remove(draft.claims, name)
    return f"no {name}"


@of("claims", 2)
def another_person(make: Generator, draft: Draft) -> str:
    name = make.random.choice(["sub", "roles", "jti", "cnf"])
    texts = ['"alice\\r\\nX-Role: Admin"', '"a b"', '"Zo\\u00eb"', '"\\u202eecila"', '["ops"]',
             '["ops",1]', '"OPS"', '"ops,admin"', '["Ops"]', '{"ops":true}', '{"jkt":"AAAA"}', *ODD]
    text = make.random.choice(texts)
    draft.set(draft.claims, name, text)
    return f"{name} {text}"


@of("claims", 3)
def a_claim_twice(make: Generator, draft: Draft) -> str:
    name, text = make.random.choice([
        ("aud", '"other"'), ("aud", '"airflow"'), ("iss", '"https://evil.example"'), ("exp", "1"),
        ("exp", str(make.now + 3600)), ("sub", '"admin"'), ("roles", '"admin"'), ("nbf", "1"),
        ("x", "1"), ("nested", '{"a":1,"a":1}'), ("nested", '[{"a":1,"\\u0061":2}]'),
    ])
    if name == "x":
        draft.claims.append(["x", "1"])
    at = make.random.choice([0, len(draft.claims)])
    draft.claims.insert(at, [name, text])
    return f"{name} a second time, {text}, {'first' if at == 0 else 'last'}"


@of("claims")
def deep(make: Generator, draft: Draft) -> str:
    depth = make.random.choice([2, 30, 31, 32, 33, 64, 127, 128, 500, 900, 2000])
    opening, closing = make.random.choice([("[", "]"), ('{"a":', "}")])
    inner = "1" if opening != "[" else ""
    draft.set(draft.claims, "deep", opening * depth + inner + closing * depth)
    return f"claims nested {depth + 1} deep"


@of("claims")
def many(make: Generator, draft: Draft) -> str:
    count = make.random.choice([40, 400, 511, 512, 513, 1500])
    for index in range(count - len(draft.claims)):
        draft.claims.append([f"m{index}", "1"])
    return f"{count} members in the claims"


@of("claims", 2)
def odd_text_inside(make: Generator, draft: Draft) -> str:
    text = make.random.choice([
        "NaN", "Infinity", "-Infinity", "nan", "undefined", "'x'", "01", "+1", ".5", "1.", "0x10",
        '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude80"', '"\\x41"', '"a\tb"', '"a\nb"',
        '"\u2028"', "True", "None", "1e", '"\\u00e"', "[1,]", "{,}", '"unfinished', '"\\/"',
        '"\u007f"', "tru",
        "123456789012345678901234567890", "-", "1_000", "\u00a0 1", "// x\n1", "/* x */ 1",
        '"\\u0000"', '"\ufeff"',
    ])
    draft.set(draft.claims, "odd", text)
    return f"a claim written as {text!r}"


ODD_BYTES: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("a byte order mark", lambda text: b"\xef\xbb\xbf" + text),
    ("UTF-16", lambda text: text.decode().encode("utf-16")),
    ("UTF-16 without a mark", lambda text: text.decode().encode("utf-16-le")),
    ("UTF-32", lambda text: text.decode().encode("utf-32")),
    ("a NUL after the end", lambda text: text + b"\0"),
    ("white space around", lambda text: b" \t\r\n" + text + b"\n "),
    ("a form feed before", lambda text: b"\x0c" + text),
    ("a no-break space after", lambda text: text + b"\xc2\xa0"),
    ("a second object after", lambda text: text + b"{}"),
    ("a comma at the end", lambda text: text[:-1] + b",}"),
    ("a comma at the start", lambda text: b"{," + text[1:]),
    ("no end", lambda text: text[:-1]),
    ("nothing at all", lambda text: b""),
    ("an array around", lambda text: b"[" + text + b"]"),
    ("a string", lambda text: json.dumps(text.decode()).encode()),
    ("null", lambda text: b"null"),
    ("a number", lambda text: b"1"),
    ("an empty object", lambda text: b"{}"),
    ("a broken UTF-8 sequence", lambda text: text[:-1] + b',"u":"\xff\xfe"}'),
    ("an overlong UTF-8 sequence", lambda text: text[:-1] + b',"u":"\xc0\xaf"}'),
    ("a surrogate in UTF-8", lambda text: text[:-1] + b',"u":"\xed\xa0\x80"}'),
    ("a cut UTF-8 sequence", lambda text: text[:-1] + b',"u":"\xc3"}'),
    ("plain UTF-8", lambda text: text[:-1] + ',"u":"é\U0001f680"}'.encode()),
    ("a comment", lambda text: b"/* x */" + text),
    ("single quotes", lambda text: text.replace(b'"', b"'")),
    ("names escaped", lambda text: text.replace(b'"iss"', b'"\\u0069ss"').replace(
        b'"alg"', b'"\\u0061lg"')),
    ("a NaN", lambda text: text[:-1] + b',"n":NaN}'),
]


@of("claims", 2)
def odd_claims_text(make: Generator, draft: Draft) -> str:
    name, change = make.random.choice(ODD_BYTES)
    draft.claims_bytes.append(change)
    return f"claims: {name}"


@of("header", 2)
def odd_header_text(make: Generator, draft: Draft) -> str:
    name, change = make.random.choice(ODD_BYTES)
    draft.header_bytes.append(change)
    return f"header: {name}"


@of("header")
def deep_header(make: Generator, draft: Draft) -> str:
    depth = make.random.choice([2, 31, 32, 128, 900])
    draft.set(draft.header, "deep", "[" * depth + "]" * depth)
    return f"header nested {depth + 1} deep"


# --- who signs ---

@of("keys", 3)
def a_published_key_that_is_not_for_this(make: Generator, draft: Draft) -> str:
    draft.key = make.random.choice(["for-encryption", "for-rs512", "small"])
    draft.set(draft.header, "kid", json.dumps(draft.key))
    return f"signed with the published key {draft.key}"


@of("keys", 2)
def another_published_key(make: Generator, draft: Draft) -> str:
    others = [key for key in Keys.USABLE if key != draft.key]
    draft.key = make.random.choice(others)
    return "signed with another key than kid says"


@of("keys", 2)
def a_rogue_key(make: Generator, draft: Draft) -> str:
    draft.key = "rogue"
    kid = make.random.choice([None, '"rogue"', '"first"'])
    if kid:
        draft.set(draft.header, "kid", kid)
    return f"signed with a key that is not published, kid {kid or 'as it was'}"


@of("keys", 3)
def another_kid(make: Generator, draft: Draft) -> str:
    kid = draft.key
    texts = ['"unknown"', json.dumps(kid.upper()), json.dumps(kid + " "), json.dumps(kid[:-1]),
             json.dumps(f"\\u0066{kid[1:]}"), '"../../dev/null"', '"\' OR 1=1 --"', '"a\\r\\nb"',
             json.dumps("k" * 256), json.dumps("k" * 257), json.dumps("é" * 128), '"0"',
             '"__proto__"', '"constructor"', f'["{kid}"]', *ODD]
    text = make.random.choice(texts)
    draft.set(draft.header, "kid", text)
    return f"kid {text[:40]}"


@of("keys")
def no_kid(make: Generator, draft: Draft) -> str:
    draft.remove(draft.header, "kid")
    return "no kid"


@of("keys", 2)
def a_made_up_signature(make: Generator, draft: Draft) -> str:
    size = make.random.choice([0, 1, 64, 128, 255, 256, 257, 384, 512, 4096])
    data = make.random.choice([b"\0" * size, b"\xff" * size, make.random.randbytes(size)])
    draft.sign = lambda message: data
    return f"a made-up signature of {size} bytes"


@of("keys")
def a_signature_in_other_words(make: Generator, draft: Draft) -> str:
    """The same number: with a zero byte more, or the modulus added."""
    modulus = make.keys.private[draft.key].public_key().public_numbers().n
    ways = ["zero before", "zero after", "modulus added", "negated"]
    key, more = draft.key, make.random.choice(ways)

    def sign(message: bytes) -> bytes:
        signature = make.keys.rs(key, message)
        number = int.from_bytes(signature, "big")
        return {
            "zero before": b"\0" + signature,
            "zero after": signature + b"\0",
            "modulus added": (number + modulus).to_bytes(len(signature) + 1, "big"),
            "negated": (modulus - number).to_bytes(len(signature), "big"),
        }[more]

    draft.sign = sign
    return f"the signature with {more}"


# --- what happens to a signed token ---

@of("encoding", 4)
def a_bit_flips(make: Generator, draft: Draft) -> str:
    part, seed = make.random.randrange(3), make.random.random()

    def flip(token: str) -> str:
        parts = token.split(".")
        if part >= len(parts):
            return token
        data = bytearray(base64.urlsafe_b64decode(parts[part] + "=="))
        if data:
            bit = int(seed * len(data) * 8)
            data[bit // 8] ^= 1 << (bit % 8)
        parts[part] = encode(bytes(data))
        return ".".join(parts)

    draft.encoded.append(flip)
    return f"a bit of part {part + 1} flipped"


@of("encoding", 2)
def another_character(make: Generator, draft: Draft) -> str:
    seed, new = make.random.random(), make.random.choice(ALPHABET + "+/=.~ \t,\"%é")

    def change(token: str) -> str:
        at = int(seed * len(token))
        return inside(token[:at] + new + token[at + 1:])

    return spell(make, draft, change, f"one character became {new!r}")


@of("encoding", 2)
def one_character_more(make: Generator, draft: Draft) -> str:
    seed, new = make.random.random(), make.random.choice("A_-+/=.~ \t\u00a0é\u200b%,")

    def change(token: str) -> str:
        at = make_place(token, seed)
        return inside(token[:at] + new + token[at:])

    return spell(make, draft, change, f"{new!r} put in")


@of("encoding", 2)
def cut(make: Generator, draft: Draft) -> str:
    seed, one = make.random.random(), make.random.random() < 0.5

    def change(token: str) -> str:
        at = int(seed * len(token))
        return inside((token[:at] + token[at + 1:]) if one else token[:at])

    draft.encoded.append(change)
    return "one character gone" if one else "cut short"


@of("encoding", 2)
def padded(make: Generator, draft: Draft) -> str:
    part, count = make.random.randrange(3), make.random.choice([None, None, 1, 2, 3])

    def change(token: str) -> str:
        parts = token.split(".")
        if part < len(parts):
            parts[part] += "=" * (-len(parts[part]) % 4 if count is None else count)
        return ".".join(parts)

    how = f"part {part + 1} padded" + (f" with {count}" if count else "")
    return spell(make, draft, change, how)


@of("encoding", 2)
def loose_bits(make: Generator, draft: Draft) -> str:
    part, more = make.random.randrange(3), make.random.randrange(1, 4)

    def change(token: str) -> str:
        parts = token.split(".")
        if part < len(parts) and len(parts[part]) % 4 in (2, 3):
            last = ALPHABET.index(parts[part][-1])
            parts[part] = parts[part][:-1] + ALPHABET[last ^ more]
        return ".".join(parts)

    how = f"loose bits in part {part + 1}"
    return spell(make, draft, change, how)


@of("encoding")
def the_standard_alphabet(make: Generator, draft: Draft) -> str:
    def change(token: str) -> str:
        return token.replace("-", "+").replace("_", "/")

    return spell(make, draft, change, "the alphabet of plain base64")


@of("encoding", 2)
def other_parts(make: Generator, draft: Draft) -> str:
    ways: dict[str, Callable[[list[str]], list[str]]] = {
        "no signature": lambda parts: parts[:2],
        "an empty signature": lambda parts: [*parts[:2], ""],
        "an empty header": lambda parts: ["", *parts[1:]],
        "empty claims": lambda parts: [parts[0], "", *parts[2:]],
        "one part": lambda parts: parts[:1],
        "four parts": lambda parts: [*parts, "AAAA"],
        "a dot at the end": lambda parts: [*parts, ""],
        "a dot before": lambda parts: ["", *parts],
        "five parts": lambda parts: [*parts, "AAAA", "AAAA"],
        "five parts, a JWE": lambda parts: [
            encode(b'{"alg":"dir","enc":"A128GCM","zip":"DEF"}'), "", "AAAA", parts[1], "AAAA"],
        "many dots": lambda parts: parts + [""] * 2000,
        "dots alone": lambda parts: [""] * 1000,
        "the parts turned": lambda parts: parts[::-1],
        "the claims twice": lambda parts: [parts[0], parts[1], parts[1], *parts[2:]],
        "the header as claims": lambda parts: [parts[0], parts[0], *parts[2:]],
    }
    name = make.random.choice(list(ways))
    draft.encoded.append(lambda token: ".".join(ways[name](token.split("."))))
    return name


@of("encoding")
def json_serialization(make: Generator, draft: Draft) -> str:
    def change(token: str) -> str:
        names = ("protected", "payload", "signature")
        return json.dumps(dict(zip(names, token.split("."))), separators=(",", ":"))

    draft.encoded.append(change)
    return "the JSON serialization"


@of("encoding")
def encoded_again(make: Generator, draft: Draft) -> str:
    draft.encoded.append(lambda token: encode(token.encode()))
    return "encoded as a whole once more"


@of("encoding")
def claims_of_another_token(make: Generator, draft: Draft) -> str:
    other, _ = make.valid()
    part = make.random.randrange(3)

    def change(token: str) -> str:
        parts, others = token.split("."), make.finish(other).split(".")
        if part < len(parts):
            parts[part] = others[part]
        return ".".join(parts)

    draft.encoded.append(change)
    return f"part {part + 1} of another valid token"


def spell(make: Generator, draft: Draft, change: Callable[[str], str], how: str) -> str:
    """Changes the finished token, or what is then signed; lenient readers accept the latter."""
    if make.random.random() < 0.5:
        draft.signed.append(change)
        return f"{how}, then signed"
    draft.encoded.append(change)
    return how


def make_place(token: str, seed: float) -> int:
    """Any place, or one right beside a dot or the end, where it matters most."""
    places = [0, len(token), token.find("."), token.find(".") + 1, token.rfind(".")]
    return int(seed * 2 * len(token)) if seed < 0.5 else places[int(seed * 1000) % len(places)]


def inside(token: str) -> str:
    """HTTP does not carry white space at the ends of a field, nor an empty token as one."""
    return token.strip(" \t") or "x"
