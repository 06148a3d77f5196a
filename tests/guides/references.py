"""What documents refer to: files, headings, tests, and commands of airside with their options."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from blocks import Block, anchors, blocks, links
from documents import BINARY, PROVEN, ROOT


def faults_of_links(document: Path) -> Iterator[str]:
    for line, target in links(document):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (document.parent / name).resolve() if name else document
        where = f"{document.relative_to(ROOT)}:{line}: {target}"
        if not place.exists():
            yield f"{where}: there is no such file"
        elif not place.is_relative_to(ROOT):
            yield f"{where}: outside the repository"
        elif anchor and place.suffix == ".md" and anchor not in anchors(place):
            yield f"{where}: there is no such heading"


def faults_of_tests(document: Path) -> Iterator[str]:
    """A name in the form of a test's is that of one, or a promise has lost its proof."""
    if str(document.relative_to(ROOT)) not in PROVEN:
        return
    for name in re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+){5,})`", document.read_text()):
        if f"fn {name}(" not in all_tests():
            yield f"{document.relative_to(ROOT)}: there is no test {name}"


@cache
def all_tests() -> str:
    sources = (source for folder in ("src", "tests") for source in (ROOT / folder).rglob("*.rs"))
    return "\n".join(source.read_text() for source in sources)


def faults_of_commands(document: Path) -> Iterator[str]:
    for block in blocks(document):
        if block.info.split(" ")[0] not in ("", "sh"):
            continue
        for command in commands(block):
            for fault in faults_of(command):
                yield f"{document.relative_to(ROOT)}:{block.line}: {shlex.join(command)}: {fault}"


def commands(block: Block) -> Iterator[list[str]]:
    """Each that begins with `airside`, as its words."""
    text = re.sub(r"\\\n\s*", " ", block.text)
    text = re.sub(r"(?:^|\s)#.*", "", text)
    for line in text.split("\n"):
        for start in re.finditer(r"(?:^|[|;&(]|\$\s)\s*(?=airside\s)", line):
            rest = line[start.end():]
            try:
                lexer = shlex.shlex(rest, posix=True, punctuation_chars="|;&<>()")
                lexer.whitespace_split = True
                words = list(lexer)
            except ValueError:
                words = rest.split()
            end = next((at for at, word in enumerate(words) if word[0:1] in "|;&<>()"), None)
            yield words[:end]


def faults_of(command: list[str]) -> Iterator[str]:
    arguments = command[1:]
    if "--" in arguments:
        arguments = arguments[:arguments.index("--")]
    name = next(iter(arguments), "")
    # What is printed about a command is no command.
    if not re.fullmatch(r"-{0,2}[a-z]+", name):
        return
    if name.startswith("-"):
        name = ""
    options = known(name)
    if options is None:
        yield "there is no such command"
        return
    for word in arguments:
        option = re.match(r"--?[A-Za-z][A-Za-z-]*", word)
        if option and option[0] not in options:
            yield f"there is no option {option[0]}"


@cache
def known(command: str) -> frozenset[str] | None:
    """The options of this command; none where there is no such command."""
    words = [str(BINARY), *([command] if command else []), "--help"]
    said = subprocess.run(words, capture_output=True, text=True)
    if said.returncode != 0:
        return None
    return frozenset(re.findall(r"(?<![\w-])--?[A-Za-z][A-Za-z-]*", said.stdout)) | {"--help", "-h"}
