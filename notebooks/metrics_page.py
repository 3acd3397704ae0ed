"""The page that documents `metrics.json`, `mdgen/evaluation/metrics.md`, made of the tables in the code.

python notebooks/metrics_page.py        # rewrites it after a change
"""

from pathlib import Path

import mdgen.evaluation
from mdgen.evaluation.metrics.catalogue import METRICS
from mdgen.evaluation.metrics.target import Description
from mdgen.evaluation.protocols.protocol_metrics import PROTOCOL_METRICS
from mdgen.evaluation.result import SCHEMA
from mdgen.files import write_aside

PAGE = Path(mdgen.evaluation.__file__).with_name("metrics.md")

KEYS = {
    "schema": f"`{SCHEMA}`",
    "molecule": "`residues`, `atoms`, `fingerprint`",
    "settings": "as they were resolved: lags, states, bins, `frame_spacing_ps`, seed, `tolerances`",
    "verdict": "`fails` if a criterion does, else `flagged` if there are flags, `undecided`, or `holds` if all do",
    "criteria": "lines of `metric`, `meaning`, `value`, `floor` (what dynamics scores against itself), `excess` = "
    "sqrt(value^2 - floor^2) with its interval `low`, `high` (2.5 and 99 %) for this row alone, "
    "`tolerance`, `p` adjusted over all "
    "criteria and at least 1/(permutations + 1), `verdict`, and `needs`: the multiple of all frames, of the dynamics "
    "and generated, that would decide it",
    "blocks": "what the criteria are judged by: number of blocks of `dynamics` and of `generated` frames, their mean "
    "`length_ps`, `slow_spread` (the factor by which intervals and p are widened for what is slower than a block) and "
    "`permutations`; null where there are too few frames",
    "flags": "sentences that void the verdict: on copied frames, on trajectories that stand still, and on faults that "
    "no frame of the dynamics has",
    "notes": "further caveats, and what could not be measured and why; worst first",
    "rows": "by row: `label`, `meaning`, `frames`, `length_ns` and `metrics`",
    "protocol": "null, or with `protocol=NAME`: `name`, `rows` of `frames`, `metrics` and `arrays`, and `notes`",
    "acceptance": "lines of `name`, `value`, `low`, `high`, `bound`, `holds`: bounds that were added, as by the demo",
}

ROWS = {
    "reference": "the molecular dynamics that the others are judged against",
    "replicate": "held-out dynamics, the oracle: named, or split off the reference",
    "generated": "the generated trajectories, as many frames as the replicate",
    "seed_2, seed_3 ...": "the same model from further training seeds, where they were given",
    "seeds": "the mean over training seeds with Student's interval of the mean",
    "generated_all": "all generated frames, where they are more",
    "tenth, hundredth, thousandth": "the first part of the replicate",
    "shuffled": "the replicate's frames in random order; a score that it also reaches says nothing of kinetics",
    "independent": "frames drawn at random from the reference",
    "markov_paths": "paths of the reference's Markov state model",
    "tica_ou": "an Ornstein-Uhlenbeck process in the slow linear coordinates",
    "frozen": "one frame, repeated",
    "floor": "score of as many independent frames by chance, the reference taken as exact",
    "md_floor": "score of dynamics against itself by block permutation: blocks of reference and replicate are assigned "
    "at random to two samples of these sizes, so that frames are as correlated as those of dynamics",
}


MANY_MOLECULES = """## Many molecules

`aggregate.json`, of `pairs=FOLDER`, holds over all `molecules` the median of each metric with a bootstrap interval over
molecules and their number (`rows`), the protocol's table, and `equivalent_length_ns`: the length of dynamics whose
score is that of the generated trajectories, by a power law between the rows `thousandth`, `hundredth`, `tenth` and
`replicate` of each molecule, no longer than the replicate and no shorter than the first of these rows. They are the
first part of the replicate, so the length is uncertain by a factor for one molecule; the interval over molecules says
by how much.
"""


def page() -> str:
    """The whole page in Markdown."""
    parts = [
        "# What `metrics.json` holds\n\n"
        "`mdgen evaluate` writes it; `mdgen.evaluation.read_metrics` reads it. The names below are stable: new ones may"
        " be\nadded, none changes its meaning without another schema.\n",
        _table("Keys", "key", KEYS),
        'Every metric is `{"value", "low", "high"}` with its 95 % interval: a bootstrap over trajectories, or over'
        " blocks of few, widened\nas Student's; over draws for the floors, over seeds for `seeds`. Null where there is"
        " none, or where a number is not finite.\n",
        _table("Rows", "row", ROWS),
        "## Metrics\n\nA name may be followed by `/` and what it was measured on: `torsion_jsd/phi ALA2`,"
        " `timescale_ps/1`.\n\n| name | in tables | meaning |\n| --- | --- | --- |\n"
        + "".join(f"| `{name}` | {each.label} | {each.meaning} |\n" for name, each in METRICS.items()),
        *(_protocol(name, metrics) for name, metrics in PROTOCOL_METRICS.items()),
        MANY_MOLECULES,
    ]
    return "\n".join(parts)


def _protocol(name: str, metrics: dict[str, Description]) -> str:
    body = "".join(f"| `{key}` | {each.label} | {each.meaning} |\n" for key, each in metrics.items())
    return f"## Metrics of `protocol={name}`\n\n| name | in tables | meaning |\n| --- | --- | --- |\n{body}"


def _table(title: str, head: str, lines: dict[str, str]) -> str:
    body = "".join(f"| `{key.replace(', ', '`, `')}` | {meaning} |\n" for key, meaning in lines.items())
    return f"## {title}\n\n| {head} | |\n| --- | --- |\n{body}"


if __name__ == "__main__":
    write_aside(PAGE, page().encode())
