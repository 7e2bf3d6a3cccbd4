"""The command that trains and calibrates."""

import argparse

from nnanomaly.cli import options
from nnanomaly.cli.refusals import refuse_other_trainer, refuse_several_gpus
from nnanomaly.cli.run import Arguments, run_command
from nnanomaly.cli.training_options import add_training
from nnanomaly.paths import Paths, check_fold, tracker_from_env
from nnanomaly.stages import NETWORKS, asked_for, predicts
from nnanomaly.utilities.errors import ConfigurationError


def train(argv: Arguments = None) -> int:
    """Train a stage and the stages before it, then calibrate.

    Finished stages are kept, interrupted ones continued. `head` and `reduction` build on a `ddpm` that is trained;
    `all` is `ddpm`, then `head`. `vqgan` and `classifier` alone are not calibrated.
    """
    parser = options.new_parser(train)
    add_training(parser)
    return run_command(parser, argv, _train)


def _train(arguments: argparse.Namespace) -> int:
    if arguments.f is not None and arguments.fold is not None:
        raise ConfigurationError(
            "CFG-FLAGS",
            f"the fold stands in two places: {arguments.fold} and -f {' '.join(arguments.f)}. Leave one out.",
        )
    for fold in [check_fold(fold) for fold in dict.fromkeys(arguments.f or [arguments.fold or "0"])]:
        arguments.fold = fold
        _train_fold(arguments)
    return 0


def _train_fold(arguments: argparse.Namespace) -> None:
    from nnanomaly.cli.training_run import FoldTraining, calibrate_again, train_fold
    from nnanomaly.training.stage_run import TrainingOptions
    from nnanomaly.training.trackers import require_tracker

    paths = Paths.from_env()
    dataset = paths.dataset_name(arguments.dataset_name_or_id)
    refuse_other_trainer(arguments.tr)
    refuse_several_gpus(arguments.num_gpus)
    _refuse_contradictions(arguments)
    tracker = arguments.tracker or tracker_from_env()
    require_tracker(tracker)
    changes = {
        "num_iterations": arguments.num_iterations,
        "learning_rate": arguments.lr,
        "batch_size": arguments.batch_size,
        "seed": arguments.seed,
    }
    options_of_training = TrainingOptions(
        device=arguments.device,
        num_workers=arguments.num_workers,
        resume=arguments.c,
        tracker=tracker,
        changes={key: value for key, value in changes.items() if value is not None},
    )
    run = FoldTraining(
        paths=paths,
        dataset=dataset,
        plans_name=options.plans_name(arguments),
        fold=arguments.fold,
        configuration=arguments.configuration,
        options=options_of_training,
        force=arguments.force,
        checkpoints=_checkpoints_to_calibrate(arguments) if predicts(arguments.configuration) else (),
    )
    if arguments.val:
        calibrate_again(run)
    else:
        train_fold(run)


def _refuse_contradictions(arguments: argparse.Namespace) -> None:
    if arguments.val and arguments.c:
        raise ConfigurationError(
            "CFG-FLAGS", "--val and --c exclude each other: --val only calibrates a finished training"
        )
    if arguments.force and (arguments.val or arguments.c):
        other, meaning = ("--val", "only calibrates") if arguments.val else ("--c", "goes on with what is there")
        raise ConfigurationError(
            "CFG-FLAGS", f"--force and {other} exclude each other: --force trains anew, {other} {meaning}"
        )
    optimisation = {
        "--c": arguments.c,
        "-num_iterations": arguments.num_iterations,
        "-lr": arguments.lr,
        "-batch_size": arguments.batch_size,
    }
    given = [flag for flag, value in optimisation.items() if value]
    whole = [stage for stage in asked_for(arguments.configuration) if stage not in NETWORKS]
    if whole and given:
        raise ConfigurationError(
            "CFG-FLAGS", f"{given[0]} does not go with {whole[0]}, which is fitted whole in seconds. Leave it out."
        )
    calibrating = {"--val": arguments.val, "--val_best": arguments.val_best}
    for flag in (flag for flag, given in calibrating.items() if given):
        if not predicts(arguments.configuration):
            raise ConfigurationError(
                "CFG-FLAGS", f"{flag} calibrates a ddpm, a head or a reduction, not {arguments.configuration}"
            )
    if arguments.chk is not None and not arguments.val:
        raise ConfigurationError(
            "CFG-FLAGS", "-chk names the checkpoint that --val calibrates. Add --val, or leave it out."
        )


def _checkpoints_to_calibrate(arguments: argparse.Namespace) -> list[str]:
    """After training always the final one, since prediction uses it by default."""
    from nnanomaly.checkpoint import BEST, FINAL

    if arguments.val:
        return [BEST if arguments.val_best else arguments.chk or FINAL]
    return [FINAL, BEST] if arguments.val_best else [FINAL]
