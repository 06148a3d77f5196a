"""Follows the documents to the letter.

Every `sh` block of README.md and docs/ runs, as documents.py says; what `text` blocks promise is
printed; configurations pass `airside check`; commands have the options that they are given; links
lead somewhere.

    python3 tests/guides/main.py [WORD...]     only documents with one of these words in their name
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

from blocks import blocks  # noqa: E402
from configurations import faults_of_configurations  # noqa: E402
from documents import BINARY, DOCUMENTS, ROOT, By  # noqa: E402
from references import faults_of_commands, faults_of_links, faults_of_tests  # noqa: E402
from shell import faults_of_blocks  # noqa: E402

ALONGSIDE = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
# What may stand behind `sh`: who needs that, nothing here can run.
ELSEWHERE = {"azure", "cluster"}


def main() -> None:
    if not BINARY.is_file():
        sys.exit(f"{BINARY} is not there: cargo build --profile ci")
    documents = [ROOT / name for name in ALONGSIDE] + sorted((ROOT / "docs").rglob("*.md"))
    words = sys.argv[1:]
    wanted = [one for one in documents if not words or any(word in one.name for word in words)]
    failed = False
    for document in wanted:
        started = time.monotonic()
        told, faults = look(document)
        failed |= bool(faults)
        seconds = time.monotonic() - started
        outcome = "FAULTS" if faults else "ok"
        print(f"{document.relative_to(ROOT)}: {told}, {seconds:.0f} s: {outcome}")
        for fault in faults:
            print(f"  {fault}")
        sys.stdout.flush()
    sys.exit(failed)


def look(document: Path) -> tuple[str, list[str]]:
    """What was looked at, and what is wrong."""
    commands, wrong = faults_of_commands(document)
    faults = [*faults_of_links(document), *faults_of_tests(document), *wrong]
    name = str(document.relative_to(ROOT))
    shell = [block for block in blocks(document) if block.info.split(" ")[0] == "sh"]
    for block in shell:
        _, *more = block.info.split(" ")
        if not set(more) <= ELSEWHERE:
            faults.append(f"{name}:{block.line}: `{block.info}` means nothing here")
    plain = sum(block.info == "sh" for block in shell)
    ran = 0
    match DOCUMENTS.get(name):
        case None if plain:
            faults.append(f"{name}: nobody runs its {plain} `sh` blocks: tests/guides/documents.py")
        case None:
            pass
        case By(script):
            faults += run_elsewhere(document, script)
        case run:
            ran, wrong = faults_of_blocks(document, run)
            faults += wrong
    with tempfile.TemporaryDirectory() as home:
        checked, wrong = faults_of_configurations(document, Path(home))
    others = len(shell) - plain
    told = (f"{ran} of {plain} blocks run, {others} need others, {commands} commands, "
            f"{checked} configurations")
    return told, faults + wrong


def run_elsewhere(document: Path, script: str) -> list[str]:
    """Whether that test knows of the document at all."""
    folder = (ROOT / script).parent
    named = any(document.name in file.read_text() for file in folder.rglob("*.py"))
    return [] if named else [f"{document.name}: nothing beside {script} runs its blocks"]


if __name__ == "__main__":
    main()
