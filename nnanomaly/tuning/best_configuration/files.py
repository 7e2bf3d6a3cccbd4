"""What the choice of a configuration leaves behind: everything that was tried as JSON and CSV, the reasons as a page,
and, as nnU-Net does, the command that predicts with it."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from nnanomaly.evaluation.tables import to_csv, to_markdown
from nnanomaly.plans import PLANS_NAMES, InferencePlan
from nnanomaly.tuning.best_configuration.selection import Choice, Tried
from nnanomaly.utilities.files import write_text
from nnanomaly.utilities.json_io import to_document, write_json
from nnanomaly.utilities.leftovers import remove_leftovers
from nnanomaly.utilities.replacement import replaced_as_one
from nnanomaly.utilities.shown_text import command_line

NUM_SHOWN = 20
NUMBERS = ("f1", "f1_standard_error", "precision", "recall", "false_per_healthy_organ", "behind_best", "behind_error")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """Everything that was tried, and the choice."""

    dataset: str
    """Full name."""
    plans_name: str
    """Name of the plans."""
    folds: list[str]
    """Whose validation sides were used."""
    source: str
    """Whose lesions: `inserted` or `drawn`."""
    limit: float
    """Most candidates per healthy organ."""
    num_trials: int
    """Patches with known lesions, or known to have none."""
    num_negative: int
    """Those without a lesion."""
    tried: list[Tried]
    """Configurations; the first is that of the plans before."""
    choice: Choice
    """What was chosen among them."""

    @property
    def num_lesions(self) -> int:
        """Lesions of all trials."""
        return int(self.tried[0].counts[:, (0, 2)].sum())


def write_result(folder: Path, result: Result) -> None:
    """Write best_configuration.json, .csv and .md and inference_instructions.txt to `folder`, as one."""
    table = table_of(result)
    remove_leftovers(folder)
    with replaced_as_one(folder) as new:
        write_json(new / "best_configuration.json", document_of(result))
        write_text(new / "best_configuration.csv", to_csv(table))
        write_text(new / "best_configuration.md", page_of(result, table))
        write_text(new / "inference_instructions.txt", f"{command_of(result)}\n")


def table_of(result: Result) -> pd.DataFrame:
    """A row per configuration, best F1 first: the fields that differ among them, what it reached, how it stands."""
    rows = [_row(result, number) for number in range(len(result.tried))]
    return pd.DataFrame(rows).sort_values(["allowed", "f1"], ascending=False, kind="stable")


def document_of(result: Result) -> dict[str, Any]:
    """The whole choice."""
    choice, before = result.choice, result.tried[0]
    return {
        "dataset": result.dataset,
        "plans": result.plans_name,
        "folds": result.folds,
        "lesions": result.source,
        "num_trials": result.num_trials,
        "num_negative_trials": result.num_negative,
        "num_lesions": result.num_lesions,
        "most_false_candidates_per_healthy_organ": result.limit,
        "before": {"inference": to_document(before.plan), **_row(result, 0)},
        "chosen": {"inference": to_document(result.tried[choice.chosen].plan), **_row(result, choice.chosen)},
        "best": {"inference": to_document(result.tried[choice.best].plan), **_row(result, choice.best)},
        "num_tied_with_best": len(choice.tied),
        "f1_of_the_best_on_unseen_cases": choice.unseen_f1,
        "configurations": [_row(result, number) for number in range(len(result.tried))],
    }


def page_of(result: Result, table: pd.DataFrame) -> str:
    """The page: what was chosen and why, what every option is worth, the best configurations."""
    choice = result.choice
    named = {"chosen": choice.chosen, "largest F1": choice.best, "plans before": 0}
    rows = [{"configuration": name, **_row(result, number)} for name, number in named.items()]
    unseen = "" if choice.unseen_f1 is None else f" The best of such a grid reaches {choice.unseen_f1:.3f} on cases"
    unseen += "" if choice.unseen_f1 is None else " that did not choose it (bootstrap)."
    return "\n".join(
        [
            f"# Best configuration of {result.dataset}, plans {result.plans_name}\n",
            f"{len(result.tried)} configurations on fold {' '.join(result.folds)}: {result.num_trials} trials, "
            f"{result.num_lesions} {result.source} lesions, {result.num_negative} trials without one. F1 at IoU 0.2, "
            "pooled over all trials; false candidates in trials without a lesion count.\n",
            f"{len(choice.allowed)} leave at most {result.limit:g} candidates per healthy organ. The largest F1 of "
            f"them is {result.tried[choice.best].f1:.3f}; {len(choice.tied)} cannot be told from it (at most two "
            "standard errors of the difference behind, bootstrap over cases). Of these the simplest was chosen: fewest "
            f"networks, then fewest fields that differ from the plans before, then largest F1.{unseen}\n",
            to_markdown(_text(pd.DataFrame(rows))),
            "\n## What every option can reach\n",
            "Largest F1 among the allowed configurations that have it.\n",
            to_markdown(_text(_by_option(table))),
            f"\n## The {min(NUM_SHOWN, len(table))} best of all\n",
            to_markdown(_text(table.head(NUM_SHOWN))),
            f"\nPredict with it: `{command_of(result)}`\n",
        ]
    )


def command_of(result: Result) -> str:
    """The command that predicts with the chosen configuration."""
    plans = () if result.plans_name == PLANS_NAMES["default"] else ("-p", result.plans_name)
    return command_line("nnanomaly_predict", "-i", "INPUT_FOLDER", "-o", "OUTPUT_FOLDER", "-d", result.dataset, *plans)


def _row(result: Result, number: int) -> dict[str, Any]:
    tried, choice = result.tried[number], result.choice
    return {
        **{name: getattr(tried.plan, name) for name in _varied([one.plan for one in result.tried])},
        "f1": tried.f1,
        "f1_standard_error": float(choice.standard_errors[number]),
        "precision": tried.precision,
        "recall": tried.recall,
        "false_per_healthy_organ": tried.false_candidates_per_organ,
        "behind_best": float(choice.behind[number]),
        "behind_error": float(choice.behind_errors[number]),
        "allowed": number in choice.allowed,
        "tied": number in choice.tied,
        "chosen": number == choice.chosen,
    }


def _varied(plans: list[InferencePlan]) -> list[str]:
    """Names of the fields in which configurations differ."""
    return [field.name for field in fields(InferencePlan) if len({getattr(plan, field.name) for plan in plans}) > 1]


def _by_option(table: pd.DataFrame) -> pd.DataFrame:
    allowed = table[table["allowed"]]
    options = [name for name in table.columns if name not in (*NUMBERS, "allowed", "tied", "chosen")]
    rows = [
        {"option": name, "value": value, "f1": of_value["f1"].max(), "configurations": len(of_value)}
        for name in options
        for value, of_value in allowed.groupby(name)
    ]
    return pd.DataFrame(rows)


def _text(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers that were measured with three digits, settings as they are."""
    return table.assign(**{name: table[name].map("{:.3f}".format) for name in NUMBERS if name in table}).astype(str)
