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


def faults_of_commands(document: Path) -> tuple[int, list[str]]:
    """How many commands there are, and what is wrong with them."""
    count, faults = 0, []
    for block in blocks(document):
        if block.info.split(" ")[0] not in ("", "sh"):
            continue
        where = f"{document.relative_to(ROOT)}:{block.line}"
        found = list(commands(block))
        count += len(found)
        faults += [f"{where}: {shlex.join(one)}: {fault}" for one in found for fault in faults_of(one)]
        # Nothing else has the image's path of the program, so it is a command wherever it stands.
        named = len(re.findall(r"(?<!\S)/airside(?=\s)", code(block)))
        read = sum(one[0] == "/airside" for one in found)
        if read != named:
            faults.append(f"{where}: /airside stands there {named} times, {read} were read as commands")
    return count, faults


def code(block: Block) -> str:
    """Without comments, each command in one line."""
    text = re.sub(r"\\\n\s*", " ", block.text)
    return re.sub(r"(?:^|\s)#.*", "", text)


# Where a command begins: with the line, behind what ends or opens another, as what a container runs.
START = r"(?:^|[|;&(]|\$\s|\s(?:--|exec\s+\S+)\s)\s*"
PROGRAM = re.compile(START + r"(?=(?:\S*/)?airside\s)")


def commands(block: Block) -> Iterator[list[str]]:
    """Each whose program is airside, in whatever folder, as its words."""
    for line in code(block).split("\n"):
        for start in PROGRAM.finditer(line):
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
