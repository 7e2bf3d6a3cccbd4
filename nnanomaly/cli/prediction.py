"""The command that predicts."""

import argparse

from nnanomaly.cli import options
from nnanomaly.cli.refusals import refuse_other_configuration, refuse_other_trainer
from nnanomaly.cli.run import PARTIAL, Arguments, run_command
from nnanomaly.paths import Paths
from nnanomaly.utilities.errors import ConfigurationError


def predict(argv: Arguments = None) -> int:
    """Find lesions: write masks, anomaly maps, reconstructions and candidates."""
    parser = options.new_parser(predict)
    options.add_prediction(parser)
    return run_command(parser, argv, _predict)


def _predict(arguments: argparse.Namespace) -> int:
    from nnanomaly.inference.predict_api import PredictionOptions, predict_folder, predict_validation

    _refuse_unclear_folders(arguments)
    refuse_other_trainer(arguments.tr)
    refuse_other_configuration(arguments.c)
    wanted = PredictionOptions(
        dataset=arguments.d,
        folds=tuple(arguments.f) if arguments.f else None,
        plans_name=options.plans_name(arguments),
        organ_masks=arguments.organ_masks,
        checkpoint=arguments.chk,
        device=arguments.device,
        num_parts=arguments.num_parts,
        part_id=arguments.part_id,
        continue_prediction=arguments.continue_prediction,
        save_autoencoded=arguments.save_autoencoded,
        num_preprocessing=arguments.npp,
        num_writing=arguments.nps,
        num_samples=arguments.num_samples,
    )
    if arguments.val:
        return PARTIAL if predict_validation(Paths.from_env(), wanted) else 0
    return PARTIAL if predict_folder(Paths.from_env(), arguments.i, arguments.o, wanted) else 0


def _refuse_unclear_folders(arguments: argparse.Namespace) -> None:
    given = [flag for flag, value in (("-i", arguments.i), ("-o", arguments.o)) if value is not None]
    if arguments.val and given:
        raise ConfigurationError("CFG-FLAGS", f"--val knows its folders: leave out {' and '.join(given)}.")
    if not arguments.val and len(given) < 2:
        raise ConfigurationError(
            "CFG-FLAGS", "-i IMAGES and -o PREDICTIONS are needed, or --val for the validation cases of the folds."
        )
