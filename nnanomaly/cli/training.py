"""The command that trains and calibrates."""

import argparse

from nnanomaly.cli import options
from nnanomaly.cli.run import Arguments, run_command
from nnanomaly.paths import Paths
from nnanomaly.utilities.errors import ConfigurationError


def train(argv: Arguments = None) -> int:
    """nnanomaly_train."""
    parser = options.new_parser("Train a stage; `ddpm` (or `all`) trains the stages it needs first, then calibrates.")
    options.add_training(parser)
    return run_command(parser, argv, _train)


def _train(arguments: argparse.Namespace) -> int:
    from nnanomaly.inference.calibrate_api import calibrate_fold
    from nnanomaly.training.train_api import TrainingOptions, train_stages

    paths = Paths.from_env()
    dataset = paths.dataset_name(arguments.dataset_name_or_id)
    if arguments.val and arguments.c:
        raise ConfigurationError(
            "CFG-FLAGS", "--val and --c exclude each other: --val only calibrates a finished training"
        )
    if arguments.val and arguments.configuration not in ("ddpm", "all"):
        raise ConfigurationError("CFG-FLAGS", f"--val calibrates a ddpm, not {arguments.configuration}")
    plans_name = options.plans_name(arguments)
    changes = {
        "num_iterations": arguments.num_iterations,
        "learning_rate": arguments.lr,
        "batch_size": arguments.batch_size,
        "seed": arguments.seed,
    }
    training = TrainingOptions(
        device=arguments.device,
        num_workers=arguments.num_workers,
        resume=arguments.c,
        changes={key: value for key, value in changes.items() if value is not None},
    )
    stage = "ddpm" if arguments.configuration == "all" else arguments.configuration
    if not arguments.val:
        train_stages(paths, dataset, stage, fold=arguments.fold, plans_name=plans_name, options=training)
    if stage == "ddpm":
        calibrate_fold(paths, dataset, fold=arguments.fold, plans_name=plans_name, device=arguments.device)
    return 0
