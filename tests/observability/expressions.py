"""The expressions that ship, and whether what they name is exported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import promql_parser
import yaml

# What scraping adds.
ADDED = {"job", "instance"}
REFERENCE = "docs/reference/metrics.md"
# What Grafana puts in the place of its variables.
GRAFANA = {
    "$__rate_interval": "1m", "$__range": "1h", '"$job"': '".*"', '"$instance"': '".*"',
}


@dataclass
class Expression:
    """One that ships, ready to be run."""

    where: str
    text: str
    # Whether a Prometheus that scrapes a busy airside has an answer to it: alerts have none.
    answered: bool


def shipped(root: Path) -> list[Expression]:
    folder = root / "config" / "observability"
    groups = yaml.safe_load((folder / "alerts.yaml").read_text())["groups"]
    alerts = [Expression(rule["alert"], rule["expr"], False) for group in groups for rule in group["rules"]]
    dashboard = json.loads((folder / "grafana-dashboard.json").read_text())
    return alerts + list(of_dashboard(dashboard))


def of_dashboard(dashboard: dict) -> Iterator[Expression]:
    for annotation in dashboard["annotations"]["list"]:
        yield Expression(annotation["name"], filled(annotation["expr"]), False)
    for variable in dashboard["templating"]["list"]:
        if found := re.fullmatch(r"label_values\((.*), (\w+)\)", variable.get("definition", "")):
            yield Expression(variable["name"], f"count by ({found[2]}) ({filled(found[1])})", True)
        elif variable["type"] != "datasource":
            raise ValueError(f"a variable that is not looked at: {variable}")
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield Expression(panel["title"], filled(target["expr"]), True)


def filled(text: str) -> str:
    for variable, value in GRAFANA.items():
        text = text.replace(variable, value)
    if "$" in text:
        raise ValueError(f"a variable of Grafana's that is not known here: {text}")
    return text


def alerts_are_told(root: Path) -> list[str]:
    """Each alert says what is wrong and leads to a chapter of its own."""
    groups = yaml.safe_load((root / "config/observability/alerts.yaml").read_text())["groups"]
    alerts = {rule["alert"]: rule for group in groups for rule in group["rules"]}
    chapters = set(re.findall(r"^### (\w+)$", (root / "docs/observability.md").read_text(), re.M))
    faults = []
    for name, rule in alerts.items():
        annotations = rule["annotations"]
        if annotations["runbook"] != f"docs/observability.md#{name.lower()}" or not annotations["summary"]:
            faults.append(f"{name}: {annotations}")
        if rule["labels"]["severity"] not in ("critical", "warning", "info"):
            faults.append(f"{name}: {rule['labels']}")
    if chapters != set(alerts):
        faults.append(f"chapters and alerts differ: {chapters ^ set(alerts)}")
    return faults


def faults_of(expressions: list[Expression], exported: dict[str, dict[str, set[str]]]) -> list[str]:
    """Names and labels that nothing exports, and values that no label can have."""
    documented = documented_values(Path(__file__).resolve().parent.parent.parent)
    faults = []
    for expression in expressions:
        known, grouped = set(ADDED), set()
        for part in walk(promql_parser.parse(expression.text)):
            if isinstance(part, promql_parser.VectorSelector):
                if part.name not in exported:
                    faults.append(f"{expression.where}: {part.name} is not exported")
                    continue
                labels = exported[part.name]
                known |= set(labels)
                for matcher in matchers(part):
                    faults += [f"{expression.where}: {part.name}: {fault}"
                               for fault in wrong(matcher, labels, documented)]
            elif modifier := getattr(part, "modifier", None):
                grouped |= set(re.findall(r"\w+", str(modifier).partition("(")[2]))
        if unknown := grouped - known:
            faults.append(f"{expression.where}: no label {unknown}")
    return faults


def walk(part: object) -> Iterator[object]:
    yield part
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        inner = getattr(part, name, None)
        if inner is not None:
            yield from walk(inner)
    for inner in getattr(part, "args", None) or []:
        yield from walk(inner)


def matchers(selector: promql_parser.VectorSelector) -> list[promql_parser.Matcher]:
    return list(selector.matchers.matchers)


def wrong(matcher: promql_parser.Matcher, labels: dict[str, set[str]], documented: set[str]) -> Iterator[str]:
    if matcher.name in ADDED:
        return
    if matcher.name not in labels:
        yield f"no label {matcher.name}"
        return
    for value in matcher.value.split("|"):
        if value not in labels[matcher.name] and value not in documented:
            yield f"{matcher.name} is never {value}"


def documented_values(root: Path) -> set[str]:
    """Values of labels by their reference, and the reasons; tests of their own hold those true."""
    values = set(re.findall(r"`(\w+)`", (root / REFERENCE).read_text()))
    return values | set(re.findall(r"^### (\w+)$", (root / "docs/troubleshooting.md").read_text(), re.M)) | {"5xx"}
