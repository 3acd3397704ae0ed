"""The section of a report on a protocol: its numbers beside those that papers publish, which are of other data."""

from typing import NamedTuple

from mdgen.evaluation.protocols.protocol import ProtocolResult
from mdgen.evaluation.protocols.protocol_metrics import PROTOCOL_METRICS, is_general, protocol_label
from mdgen.evaluation.protocols.published import published
from mdgen.evaluation.report.tables import markdown_table, with_interval
from mdgen.results import Estimate

OTHER_DATA = (
    "The columns to the right are published numbers of other models on other data, for orientation alone: they follow "
    "the same definitions, not the same molecules, lengths or numbers of frames."
)


class ProtocolLine(NamedTuple):
    """A line of the table: label, our estimates by row, and published numbers by column, None where there is none."""

    label: str
    found: list[Estimate | None]
    published: list[float | None]


class ProtocolSection(NamedTuple):
    """The section.

    Args:
        title: heading.
        rows: sets that were measured.
        columns: published columns.
        lines: lines of the table.
        sources: a sentence for each published column: of what data and from where.
        meanings: label and meaning of each metric that is shown.
        notes: notes of the protocol.
    """

    title: str
    rows: list[str]
    columns: list[str]
    lines: list[ProtocolLine]
    sources: list[str]
    meanings: list[tuple[str, str]]
    notes: list[str]


def protocol_section(result: ProtocolResult | None) -> ProtocolSection | None:
    """The section of a result; None without one. Metrics of one torsion or residue stay in `metrics.json`."""
    if result is None:
        return None
    known, columns = PROTOCOL_METRICS[result.name], published(result.name)
    named = [metric for row in result.rows.values() for metric in row.metrics]
    named += [metric for column in columns for metric in column.values]
    shown = [
        metric
        for kind in known
        for metric in dict.fromkeys(named)
        if metric.partition("/")[0] == kind and is_general(metric)
    ]
    lines = [
        ProtocolLine(
            protocol_label(result.name, metric),
            [row.metrics.get(metric) for row in result.rows.values()],
            [column.values.get(metric) for column in columns],
        )
        for metric in shown
    ]
    through = [f" (read through {column.account})" if column.account else "" for column in columns]
    sources = [
        f"{column.model}: {column.data}. {column.source}{account}."
        for column, account in zip(columns, through, strict=True)
    ]
    kinds = dict.fromkeys(metric.partition("/")[0] for metric in shown)
    return ProtocolSection(
        f"Protocol {result.name}",
        list(result.rows),
        [column.model for column in columns],
        lines,
        list(dict.fromkeys(sources)),
        [(known[kind].label, known[kind].meaning) for kind in kinds],
        [*result.notes, OTHER_DATA],
    )


def protocol_markdown(result: ProtocolResult) -> str:
    """The table of the section in GitHub's Markdown, with its notes and sources."""
    section = protocol_section(result)
    assert section is not None
    head = ["", *section.rows, *(f"{column} (other data)" for column in section.columns)]
    lines = [
        [line.label, *map(with_interval, line.found), *("" if v is None else f"{v:g}" for v in line.published)]
        for line in section.lines
    ]
    return "\n".join([markdown_table(head, lines), *section.notes, *section.sources]) + "\n"
