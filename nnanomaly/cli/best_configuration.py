"""The command that chooses how to predict with what is trained."""

import argparse

from nnanomaly.cli import options
from nnanomaly.cli.output import say
from nnanomaly.cli.run import Arguments, run_command
from nnanomaly.cli.tuning_options import add_best_configuration
from nnanomaly.paths import Paths


def find_best_configuration(argv: Arguments = None) -> int:
    """Choose map, ensemble, threshold and post-processing on validation folds.

    The choice goes into the plans.
    """
    parser = options.new_parser(find_best_configuration)
    add_best_configuration(parser)
    return run_command(parser, argv, _find)


def _find(arguments: argparse.Namespace) -> int:
    from nnanomaly.tuning.best_configuration.api import BestOptions
    from nnanomaly.tuning.best_configuration.api import find_best_configuration as find

    paths = Paths.from_env()
    wanted = BestOptions(
        folds=tuple(arguments.f) if arguments.f else None,
        drawn=arguments.drawn,
        ensembles=not arguments.disable_ensembling,
        most_false_candidates=arguments.max_false_candidates,
        variants=arguments.variants,
        device=arguments.device,
        seed=arguments.seed,
    )
    dataset = paths.dataset_name(arguments.dataset_name_or_id)
    result, folder = find(paths, dataset, plans_name=options.plans_name(arguments), options=wanted)
    say((folder / "best_configuration.md").read_text(encoding="utf-8"))
    chosen = result.tried[result.choice.chosen]
    say(
        f"chosen of {len(result.tried)}: detector {chosen.plan.detector}, F1 {chosen.f1:.3f} (plans before: "
        f"{result.tried[0].f1:.3f}), {chosen.false_candidates_per_organ:.2f} candidates per healthy organ"
    )
    return 0
