"""What stands in a document: its code blocks, headings and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Block:
    """A fenced block with what stands behind its fence, or one that is indented (without that)."""

    line: int
    info: str
    text: str
    fenced: bool = True


FENCE = re.compile(r"^(\s*)```(.*)$")


def blocks(document: Path) -> list[Block]:
    """In their order; what a fence encloses is dedented by its own indentation."""
    found, open_at, kept, indented = [], None, [], []
    lines = document.read_text().split("\n")
    before = ""
    for number, line in enumerate(lines, 1):
        fence = FENCE.match(line)
        if open_at:
            start, indent, info = open_at
            if fence and not fence[2].strip():
                found.append(Block(start, info, "\n".join(kept) + "\n"))
                open_at, kept = None, []
            else:
                kept.append(line[len(indent):] if line.startswith(indent) else line)
            continue
        # Markdown's own rule: four spaces after an empty line, until something else comes.
        if line.startswith("    ") and (indented or not before.strip()) and not fence:
            indented = indented or [(number, "")]
            indented.append((number, line[4:]))
        elif line.strip() and indented:
            found.append(of_indented(indented))
            indented = []
        if fence:
            open_at = (number, fence[1], fence[2].strip())
        before = line
    if indented:
        found.append(of_indented(indented))
    if open_at:
        raise ValueError(f"{document}:{open_at[0]}: the block does not end")
    return found


def of_indented(lines: list[tuple[int, str]]) -> Block:
    return Block(lines[0][0], "", "\n".join(text for _, text in lines[1:]) + "\n", fenced=False)


def prose(document: Path) -> Iterator[tuple[int, str]]:
    """Its lines outside fenced blocks."""
    inside = False
    for number, line in enumerate(document.read_text().split("\n"), 1):
        if FENCE.match(line):
            inside = not inside
        elif not inside:
            yield number, line


def anchors(document: Path) -> set[str]:
    """What headings may be linked by, as GitHub makes them."""
    found: dict[str, int] = {}
    names = set()
    for _, line in prose(document):
        heading = re.match(r"^#{1,6}\s+(.*?)\s*#*$", line)
        if not heading:
            continue
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        again = found.get(slug, 0)
        found[slug] = again + 1
        names.add(f"{slug}-{again}" if again else slug)
    return names


LINK = re.compile(r"(?<!!)\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")


def links(document: Path) -> Iterator[tuple[int, str]]:
    """Where its links lead, with their lines; one may begin in the line before."""
    text = "\n".join(line if outside else "" for line, outside in marked(document))
    for found in LINK.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, found[1]


def marked(document: Path) -> Iterator[tuple[str, bool]]:
    inside = False
    for line in document.read_text().split("\n"):
        fence = bool(FENCE.match(line))
        yield re.sub(r"`[^`]*`", "", line), not (inside or fence)
        inside ^= fence
