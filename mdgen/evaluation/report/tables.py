"""Tables for papers in Markdown and LaTeX: rows down and metrics across, each number with its interval."""

from collections.abc import Mapping, Sequence

from mdgen.evaluation.metrics.catalogue import is_informative, label
from mdgen.evaluation.result import Evaluation
from mdgen.evaluation.verdict import Judgement
from mdgen.results import Estimate, acceptance_table, aligned

HEADLINES = ("torsion_jsd/all", "torsion_pair_jsd/all", "tica_jsd/0,1", "free_energy_rmse_kT/psi_1", "timescale_ps/1",
             "timescale_ps/2", "decorrelation_log10_error/all", "first_passage_log10_error", "bond_rms_nm",
             "clash_share")  # fmt: skip
"""Metrics of the tables by default."""


TIMESCALES = ("timescale_ps", "mode_timescale_ps")
"""Times that are known down to the lag of the Markov model."""


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


def with_interval(estimate: Estimate | str | None) -> str:
    """A number and its interval as text.

    >>> with_interval(Estimate(0.0312, 0.028, 0.0354)), with_interval(Estimate(212.3)), with_interval(None)
    ('0.0312 (0.028 to 0.0354)', '212', '')
    """
    if estimate is None or isinstance(estimate, str):
        return estimate or ""
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


def row_cells(result: Evaluation, row: str, metrics: Sequence[str]) -> list[Estimate | str | None]:
    """The cells of a row of a result."""
    return shown(row, result.rows[row].metrics, metrics, result.settings.get("lag_ps") or 0.0)


def shown(
    row: str, found: Mapping[str, Estimate], metrics: Sequence[str], lag_ps: float = 0.0
) -> list[Estimate | str | None]:
    """The cells of a row; None where it lacks a metric, or would show the distance of the reference from itself.

    A timescale below the lag of the Markov model is not known but for that.
    """
    cells: list[Estimate | str | None] = []
    for metric in metrics:
        estimate = found.get(metric) if is_informative(row, metric) else None
        fast = estimate is not None and metric.partition("/")[0] in TIMESCALES and estimate.value < lag_ps
        cells.append(f"< {number(lag_ps)}" if fast else estimate)
    return cells


def verdict_table(result: Evaluation) -> str:
    """The verdict, every criterion in one aligned table, what would decide the undecided, and all caveats, as text."""
    cells: list[tuple[str, ...]] = [("", "criterion", "value", "MD itself", "excess", "tolerance", "p", "to decide")]
    for line in ordered(result.criteria):
        verdict = line.verdict.upper() if line.verdict == "fails" else line.verdict
        cells.append((verdict, label(line.metric), *criterion_cells(line)))
    parts = [f"verdict       {result.headline}", aligned(cells)]
    if result.acceptance:
        parts.append(acceptance_table(result.acceptance))
    caveats = "\n".join(f"- {text}" for text in (*result.flags, *result.notes))
    return "\n\n".join(part for part in (*parts, caveats) if part)


def criterion_cells(line: Judgement) -> tuple[str, ...]:
    """A criterion's value, floor, excess with its interval, tolerance, adjusted p, and what would decide it."""
    if line.value is None or line.floor is None or line.excess is None or line.p is None:
        return ("not measured", "", "", number(line.tolerance), "", "longer trajectories")
    excess = with_interval(Estimate(line.excess, line.low, line.high))
    needs = (
        ""
        if line.verdict != "undecided"
        else "much more"
        if line.needs is None
        else f"{line.needs:.2g} x data"
        if line.needs < 100
        else f"{line.needs:,.0f} x data"
    )
    return number(line.value), number(line.floor), excess, number(line.tolerance), f"{line.p:.3f}", needs


def beyond_floor(result: Evaluation, row: str, metric: str) -> str:
    """`beyond` where a row's distance lies above the interval of what dynamics scores against itself, else nothing."""
    floor = result.rows.get("md_floor")
    if floor is None or row in ("reference", "floor", "md_floor"):
        return ""
    limit, found = floor.metrics.get(metric), result.rows[row].metrics.get(metric)
    return "beyond" if limit and found and limit.high is not None and found.value > limit.high else ""


def ordered(criteria: Sequence[Judgement]) -> list[Judgement]:
    """Criteria that fail first, then the undecided, then those that hold."""
    rank = {"fails": 0, "undecided": 1, "holds": 2}
    return sorted(criteria, key=lambda line: rank[line.verdict])


def _cells(result: Evaluation, metrics: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    known = [metric for metric in metrics if any(metric in row.metrics for row in result.rows.values())]
    head = ["", "frames", *(label(metric) for metric in known)]
    lines = [
        [row.label, f"{row.frames:,}", *map(with_interval, row_cells(result, key, known))]
        for key, row in result.rows.items()
    ]
    return head, lines


def _escaped(text: str) -> str:
    for plain, escape in (("\\", r"\textbackslash "), ("_", r"\_"), ("%", r"\%"), ("&", r"\&"), ("#", r"\#")):
        text = text.replace(plain, escape)
    return text.replace("°", r"$^\circ$")
