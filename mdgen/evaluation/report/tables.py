"""Tables for papers in Markdown and LaTeX: rows down and metrics across, each number with its interval."""

from collections.abc import Mapping, Sequence

from mdgen.evaluation.metrics.catalogue import is_informative, label
from mdgen.evaluation.result import Evaluation
from mdgen.results import Estimate

HEADLINES = ("torsion_jsd/all", "torsion_pair_jsd/all", "tica_jsd/0,1", "free_energy_rmse_kT/psi_1", "timescale_ps/1",
             "timescale_ps/2", "decorrelation_log10_error/all", "first_passage_log10_error", "bond_rms_nm",
             "clash_share")  # fmt: skip
"""Metrics of the tables by default."""


def markdown(result: Evaluation, metrics: Sequence[str] = HEADLINES) -> str:
    """A table in GitHub's Markdown."""
    return markdown_table(*_cells(result, metrics))


def markdown_table(head: list[str], lines: list[list[str]]) -> str:
    """Cells as a table in GitHub's Markdown, all columns but the first aligned to the right."""
    rows = [head, ["---"] + ["---:"] * (len(head) - 1), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def latex(result: Evaluation, metrics: Sequence[str] = HEADLINES) -> str:
    """A `tabular` with the rules of `booktabs`."""
    head, lines = _cells(result, metrics)
    body = "\n".join("    " + " & ".join(map(_escaped, line)) + r" \\" for line in lines)
    return (
        f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}\n    \\toprule\n    "
        f"{' & '.join(map(_escaped, head))} \\\\\n    \\midrule\n{body}\n    \\bottomrule\n\\end{{tabular}}\n"
    )


def with_interval(estimate: Estimate | None) -> str:
    """A number and its interval as text.

    >>> with_interval(Estimate(0.0312, 0.028, 0.0354)), with_interval(Estimate(212.3)), with_interval(None)
    ('0.0312 (0.028 to 0.0354)', '212', '')
    """
    if estimate is None:
        return ""
    if estimate.value != estimate.value:
        return "not known"
    if estimate.low is None or estimate.high is None:
        return number(estimate.value)
    return f"{number(estimate.value)} ({number(estimate.low)} to {number(estimate.high)})"


def number(value: float) -> str:
    """Three significant digits.

    >>> number(0.00012), number(0.5), number(12345.6)
    ('1.2e-04', '0.5', '12,346')
    """
    if value != 0 and abs(value) < 0.001:
        return f"{value:.1e}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def shown(row: str, found: Mapping[str, Estimate], metrics: Sequence[str]) -> list[Estimate | None]:
    """The cells of a row; None where it lacks a metric, or would show the distance of the reference from itself."""
    return [found.get(metric) if is_informative(row, metric) else None for metric in metrics]


def _cells(result: Evaluation, metrics: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    known = [metric for metric in metrics if any(metric in row.metrics for row in result.rows.values())]
    head = ["", "frames", *(label(metric) for metric in known)]
    lines = [
        [row.label, f"{row.frames:,}", *map(with_interval, shown(key, row.metrics, known))]
        for key, row in result.rows.items()
    ]
    return head, lines


def _escaped(text: str) -> str:
    for plain, escape in (("\\", r"\textbackslash "), ("_", r"\_"), ("%", r"\%"), ("&", r"\&"), ("#", r"\#")):
        text = text.replace(plain, escape)
    return text.replace("°", r"$^\circ$")
