"""Compares airside's verdicts on generated tokens with those of PyJWT, joserfc and jose.

Ends with a report, and non-zero when a disagreement has no rule (rules.py), when airside accepts
what two of the three refuse or gives no verdict, or when somebody refuses a valid token.

    python3 tests/differential/main.py [--count 50000] [--seed 1] [--binary target/ci/airside]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

import setup  # noqa: E402

if TYPE_CHECKING:
    from tokens import Token

HERE = Path(__file__).resolve().parent
# How the first run of this script tells the second one what runs Node.js.
NODE = "AIRSIDE_DIFFERENTIAL_NODE"
BATCH = 1000
SHOWN = 20


def main() -> None:
    arguments = parse_arguments()
    if not arguments.binary.is_file():
        sys.exit(f"{arguments.binary} is not there: cargo build --profile ci")
    if NODE not in os.environ:
        python, node = setup.ready()
        # Once more, under the Python that has the libraries; with the seed, should it be ours.
        line = [str(python), *sys.argv, f"--seed={arguments.seed}"]
        os.execve(python, line, os.environ | {NODE: json.dumps(node)})
    report = asyncio.run(compare(arguments, sys.executable, json.loads(os.environ[NODE])))
    report.show()
    sys.exit(report.failed())


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=50_000, help="how many tokens")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--binary", type=Path, default=HERE.parent.parent / "target/ci/airside")
    return parser.parse_args()


async def compare(arguments: argparse.Namespace, python: str, node: list[str]) -> Report:
    from airside_judge import Airside
    from drafts import AUDIENCES, ISSUER, LEEWAY, SLACK
    from tokens import Generator

    print(f"seed {arguments.seed}, {arguments.count} tokens", flush=True)
    generator = Generator(arguments.seed)
    policy = {"issuer": ISSUER, "audiences": AUDIENCES, "leeway": LEEWAY,
              "jwks": generator.keys.jwks}
    report = Report(arguments.seed)
    with tempfile.TemporaryDirectory(dir=setup.ROOT) as home:
        file = Path(home) / "policy.json"
        file.write_text(json.dumps(policy))
        npm = setup.ROOT / "npm"
        others = [
            await Judge.start(python, HERE / "python_judges.py", file),
            await Judge.start(*node, HERE / "jose_judge.mjs", file, npm),
        ]
        async with Airside(arguments.binary, Path(home), policy) as airside:
            for start in range(0, arguments.count, BATCH):
                began = time.monotonic()
                tokens = generator.batch(min(BATCH, arguments.count - start))
                texts = [token.text for token in tokens]
                ours = asyncio.gather(*(airside.judge(text) for text in texts))
                verdicts = await asyncio.gather(ours, *(other.judge(texts) for other in others))
                if time.monotonic() - began > SLACK - 5:
                    sys.exit("this machine is too slow: tokens grew old while they were judged")
                for token, mine, *theirs in zip(tokens, *verdicts):
                    report.add(token, mine, theirs[0] | theirs[1])
        for other in others:
            await other.end()
    return report


class Judge:
    """A process that takes a token per line and gives its verdicts per line."""

    @classmethod
    async def start(cls, *command: str | Path) -> Judge:
        judge = cls()
        judge.child = await asyncio.create_subprocess_exec(
            *map(str, command), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        return judge

    async def judge(self, texts: list[str]) -> list[dict[str, str]]:
        async def write() -> None:
            for text in texts:
                self.child.stdin.write(json.dumps(text).encode() + b"\n")
                await self.child.stdin.drain()

        async def read() -> list[dict[str, str]]:
            return [json.loads(await self.child.stdout.readline()) for _ in texts]

        return (await asyncio.gather(write(), read()))[1]

    async def end(self) -> None:
        self.child.stdin.close()
        await self.child.wait()


class Report:
    """What was judged, and every disagreement by the rule that explains it."""

    def __init__(self, seed: int) -> None:
        from rules import RULES

        self.rules, self.seed, self.total = RULES, seed, 0
        self.by_class: Counter = Counter()
        self.agreed: dict[str, Counter] = defaultdict(Counter)
        self.reasons: Counter = Counter()
        self.by_rule: Counter = Counter()
        self.accepted_by: dict[str, Counter] = defaultdict(Counter)
        self.unexplained: list[str] = []

    def add(self, token: Token, mine: str, theirs: dict[str, str]) -> None:
        name = " + ".join(token.classes)
        self.total += 1
        self.by_class[name] += 1
        self.reasons[mine] += 1
        accepting = frozenset(who for who, verdict in theirs.items() if verdict == "accepted")
        accepted = mine == "accepted"
        told = f"{token.how}\n    airside: {mine}; {theirs}\n    {token.text[:2000]}"
        if mine.startswith("no verdict"):
            self.unexplained.append(f"NOT JUDGED: {told}")
        elif token.classes == ("valid",) and not (accepted and len(accepting) == len(theirs)):
            self.unexplained.append(f"A VALID TOKEN REFUSED: {told}")
        elif len(accepting) == (len(theirs) if accepted else 0):
            self.agreed[name]["accepted" if accepted else "refused"] += 1
        elif accepted and len(accepting) < 2:
            self.unexplained.append(f"ACCEPTED AGAINST THE MAJORITY: {told}")
        else:
            self.explain(token, mine, accepting, frozenset(theirs), told)

    def explain(
        self, token: Token, mine: str, accepting: frozenset, all_of_them: frozenset, told: str
    ) -> None:
        from facts import Facts

        facts = Facts(token.text)
        # Who differs from airside: those that accept, or where airside accepts, those that refuse.
        differing = all_of_them - accepting if mine == "accepted" else accepting
        for rule in self.rules:
            if rule.explains(facts, mine, differing):
                self.by_rule[rule.name] += 1
                self.accepted_by[rule.name].update(differing)
                return
        self.unexplained.append(told)

    def failed(self) -> bool:
        return bool(self.unexplained)

    def show(self) -> None:
        print(f"\n{'tokens':<24}{'made':>8}{'accepted':>10}{'refused':>10}{'differ':>8}")
        for name, made in sorted(self.by_class.items()):
            yes, no = self.agreed[name]["accepted"], self.agreed[name]["refused"]
            print(f"{name:<24}{made:>8}{yes:>10}{no:>10}{made - yes - no:>8}")
        agreed = sum(sum(counts.values()) for counts in self.agreed.values())
        print(f"\nairside said: {dict(self.reasons.most_common())}")
        print(f"all four agreed on {agreed} of {self.total}; the others by rule:\n")
        for rule in self.rules:
            who = ", ".join(f"{who} {n}" for who, n in sorted(self.accepted_by[rule.name].items()))
            print(f"{self.by_rule[rule.name]:>7}  {rule.name:<24}{who or '-'}")
            print(f"{'':>9}{rule.why}")
        print(f"\nunexplained: {len(self.unexplained)} (seed {self.seed})")
        for told in self.unexplained[:SHOWN]:
            print(f"  {told}")


if __name__ == "__main__":
    main()
