"""What is written from something else: the table of values in the chart's README.md, airside's own
schema in that of the values, the objects for kustomize. `--write` writes them anew."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import yaml

from gateway import CHART, KUSTOMIZE, for_kustomize
from programs import ROOT

BEGIN, END = "<!-- values: begin -->\n", "<!-- values: end -->\n"
HEAD = "# Written by `make charts WRITE=1` from what the chart makes; change that instead.\n"


def checks() -> Iterable[tuple[str, list[str]]]:
    for path, text in written():
        same = path.is_file() and path.read_text() == text
        yield f"{path.relative_to(ROOT)} is as written", [] if same else ["make charts WRITE=1"]
    yield "every value is in the table", undocumented()


def write() -> None:
    for path, text in written():
        path.write_text(text)


def written() -> Iterable[tuple]:
    readme = CHART / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    yield readme, before + BEGIN + table() + END + rest.split(END)[1]
    schema = CHART / "values.schema.json"
    yield schema, json.dumps(with_airside(json.loads(schema.read_text())), indent=2,
                             ensure_ascii=False) + "\n"
    config = yaml.safe_load((KUSTOMIZE / "airside.yaml").read_text())
    made = [found for found in for_kustomize(config) if found["kind"] != "ConfigMap"]
    yield KUSTOMIZE / "objects.yaml", HEAD + yaml.safe_dump_all(made, sort_keys=False, width=100)


def with_airside(schema: dict) -> dict:
    """`config` is held against what `airside schema` says; that something is missing is said by the
    templates, in words that tell what it is."""
    airside = json.loads((ROOT / "config/airside.schema.json").read_text())
    config = {key: value for key, value in airside.items()
              if key not in ("$schema", "title", "required")}
    schema["properties"]["config"] = config
    return schema


# A key, or a comment that is a row of the table.
KEY = re.compile(r"^( *)([A-Za-z]+):(?: (.*))?$")
ROW = re.compile(r"^ *# -- (.*)$")


def documented() -> dict[str, str]:
    """The keys below a comment that is a row, with it."""
    rows: dict[str, str] = {}
    path: list[str] = []
    row = None
    for line in (CHART / "values.yaml").read_text().splitlines():
        if found := ROW.match(line):
            row = found[1]
        elif found := KEY.match(line):
            path = [*path[: len(found[1]) // 2], found[2]]
            if row is not None:
                rows[".".join(path)] = row
            row = None
    return rows


def table() -> str:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    rows = ["| value | default | |", "| --- | --- | --- |"]
    for key, text in documented().items():
        value = values
        for part in key.split("."):
            value = value[part]
        shown = json.dumps(value, ensure_ascii=False)
        shown = f"`{shown}`" if len(shown) < 60 else "see values.yaml"
        rows.append(f"| `{key}` | {shown} | {text} |")
    return "\n".join(rows) + "\n"


def undocumented() -> list[str]:
    """Keys of values.yaml that no row covers, and keys of the schema that values.yaml lacks."""
    rows = documented()
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    return [*missing(values, "", rows), *differing(values, schema, "")]


def missing(values: dict, above: str, rows: dict[str, str]) -> Iterable[str]:
    for key, value in values.items():
        name = f"{above}{key}"
        if name in rows:
            continue
        if isinstance(value, dict) and value:
            yield from missing(value, f"{name}.", rows)
        else:
            yield f"{name} has no row"


def differing(values: dict, schema: dict, above: str) -> Iterable[str]:
    """Every section of the schema knows its keys and no others."""
    for key, rule in schema["properties"].items():
        name = f"{above}{key}"
        if key not in values:
            if name != "global":
                yield f"{name} is in the schema alone"
        elif name not in ("config", "resources", "httpRoute.timeouts") and "properties" in rule:
            if rule.get("additionalProperties") is not False:
                yield f"{name} takes anything"
            yield from differing(values[key], rule, f"{name}.")
