"""The report of a run, or of a campaign: one HTML file that needs nothing beside it."""

import base64
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ..results import TABLE_HEADER, Metrics
from .verdict import Verdict
from .view import CONTROLS, LICENCE, SCRIPT, View, payload

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
"""Title, column names, lines."""


MADE_FROM = "made-from"
"""Name of the meta element with the hash of the metrics."""
WIDE = 800
"""Pixels from which on a figure is not made to fit a telephone, whose readers scroll it instead."""


@dataclass(frozen=True)
class Report:
    """What the report says."""

    title: str
    subtitle: str
    metrics: Metrics
    warnings: Sequence[str]
    """What a reader has to know first: chains that left the range, frames that are not finite."""
    figures: Sequence[tuple[str, bytes]]
    """Caption and PNG."""
    tables: Sequence[Table]
    """Experts, timings, versions."""
    config: Mapping[str, Any]
    made_from: str = ""
    """Hash of the metrics that it shows."""
    verdict: Verdict | None = None
    views: Sequence[View] = ()
    """Molecules to be looked at while they move."""


@dataclass(frozen=True)
class CampaignReport:
    """What the report of a campaign says."""

    title: str
    subtitle: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    """A line for each work."""
    warnings: Sequence[str]
    figures: Sequence[tuple[str, bytes]]
    """Caption and PNG."""
    tables: Sequence[Table]
    config: Mapping[str, Any]
    made_from: str = ""
    """Hash of the results that it shows."""


def render(report: Report) -> str:
    """The report as HTML; everything that comes from the run is escaped."""
    shown = {"molecules": payload(report.views), "scripts": _scripts()} if report.views else {"molecules": []}
    return _render("report.html.jinja", report, TABLE_HEADER, report.metrics.table(), shown)


def render_campaign(report: CampaignReport) -> str:
    """The same of a campaign."""
    return _render("campaign.html.jinja", report, report.header, report.rows, {})


def _scripts() -> list[str]:
    """Of the viewer, its licence first. Only these are part of the page as they are."""
    folder = resources.files("fokker.analysis.report")
    licence, *scripts = (folder.joinpath(name).read_text("utf-8") for name in (LICENCE, SCRIPT, CONTROLS))
    return [f"/*!\n{licence}*/", *scripts]


def _with_settings(text: str) -> Markup:
    """Settings such as --seed as code, which is not broken at its hyphens."""
    return Markup(re.sub(r"--[a-z][\w.-]*\w", r"<code>\g<0></code>", str(escape(text))))


def _width(png: bytes) -> int:
    """In pixels; of what is no PNG 0."""
    return struct.unpack(">I", png[16:20])[0] if len(png) > 20 else 0


def _render(
    name: str,
    report: Report | CampaignReport,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    shown: Mapping[str, Any],
) -> str:
    environment = Environment(
        loader=PackageLoader("fokker.analysis.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["with_settings"] = _with_settings
    return environment.get_template(name).render(
        report=report,
        mark=MADE_FROM,
        header=header,
        rows=rows,
        images=[
            (caption, base64.b64encode(png).decode(), _width(png) > WIDE) for caption, png in report.figures
        ],
        settings=flatten(report.config),
        **shown,
    )


def flatten(config: Any, name: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, value) pairs; a list of plain values stays together."""
    if isinstance(config, Mapping):
        parts = list(config.items())
    elif isinstance(config, list) and any(isinstance(part, Mapping) for part in config):
        parts = list(enumerate(config))
    else:
        return [(name, ", ".join(map(str, config)) if isinstance(config, list) else str(config))]
    return [pair for key, value in parts for pair in flatten(value, f"{name}.{key}" if name else str(key))]
