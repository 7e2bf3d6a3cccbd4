"""One table of many settings on the test cases of a dataset, from one configuration file.

The configuration names models (a preset, and the fields of its plans that are changed before training) and rows. A row
is a model, and the fields of its `inference` that are changed after training, which costs no training; or a folder of
predictions of another method (`ablation_rows.py` says what it may hold). Models that agree in a stage can share it.
What is not trained yet is trained, then every row is calibrated on the healthy validation organs, predicted and
evaluated, in the order of the file. A row that was predicted before with the same plans and checkpoints is only
evaluated. Rows that differ only behind the networks share reconstructions; the seconds of a row are those that it would
have taken alone.

Usage: `python benchmarks/ablation.py CONFIG.json -o FOLDER [--train_only] [--again]`, with the three `nnanomaly_*`
variables set, after `nnanomaly_plan_and_preprocess`. Writes `ablation.md` and `ablation.csv` after every row.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from ablation_cache import Reconstructions
from ablation_models import budgets_of, prepare_model
from ablation_rows import Bench, FilledRow, fill_row, folder_name
from ablation_tables import write_tables

from nnanomaly.inference import load_fold
from nnanomaly.paths import Paths
from nnanomaly.utilities.json_io import read_json


def main() -> None:
    """Train what is missing, fill every row, write the tables after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("-o", type=Path, required=True)
    parser.add_argument("--train_only", action="store_true")
    parser.add_argument("--again", action="store_true", help="predict rows anew that were predicted before")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("nnanomaly").setLevel(logging.INFO)
    config, paths = read_json(arguments.config), Paths.from_env()
    refuse_equal_names([row["name"] for row in config["rows"]])
    dataset = paths.dataset_name(str(config["dataset"]))
    models = {
        name: prepare_model(paths, dataset, name, model, gpu_memory_gb=config["gpu_memory_target"])
        for name, model in config["models"].items()
    }
    if arguments.train_only:
        return
    load_fold.build_reconstructor = remembered = Reconstructions(load_fold.build_reconstructor)
    bench = Bench(
        paths=paths,
        dataset=dataset,
        models=models,
        output=arguments.o,
        remembered=remembered,
        again=arguments.again,
        num_processes=2,
    )
    budgets = {name: budgets_of(paths, plans) for name, plans in models.items()}
    rows: list[FilledRow] = []
    for row in config["rows"]:
        rows.append(fill_row(bench, row))
        text = write_tables(arguments.o, rows, budgets)
    print(text)


def refuse_equal_names(names: Sequence[str]) -> None:
    """Rows with one folder would overwrite each other."""
    folders = [folder_name(name) for name in names]
    double = sorted({name for name in names if folders.count(folder_name(name)) > 1})
    if double:
        raise ValueError(f"these rows would share a folder; change their names: {', '.join(double)}")


if __name__ == "__main__":
    main()
