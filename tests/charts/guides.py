"""Values for the chart of the gateway that stand in documentation: blocks of YAML that begin with
`# values of the airside chart`."""

from __future__ import annotations

import re
from collections.abc import Iterable

import yaml

from gateway import CHART, LEAST, OLDEST, WARNED, configuration
from programs import ROOT, Refused, checked, objects, template, validated, with_ids

BLOCK = re.compile(r"^```yaml\n(# values of the airside chart.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = [CHART / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def checks() -> Iterable[tuple[str, list[str]]]:
    found = 0
    for path in FILES:
        for number, block in enumerate(BLOCK.findall(path.read_text()), 1):
            found += 1
            yield f"values {number} of {path.relative_to(ROOT)}", faults(yaml.safe_load(block))
    yield "values stand in documentation", [] if found > 3 else [f"{found} found"]


def faults(values: dict) -> list[str]:
    """Laid over the example's, they render, and airside takes the configuration."""
    try:
        text = template(CHART, [LEAST], values)
    except Refused as refused:
        return [str(refused)]
    written = configuration(objects(text))
    return [*validated(text, OLDEST), *checked(with_ids(written), WARNED)]
