"""The commands that work on the known lesions of a validation fold: one chooses settings, one says what is lost."""

import argparse

from nnanomaly.cli import options
from nnanomaly.cli.output import say
from nnanomaly.cli.run import Arguments, run_command
from nnanomaly.cli.tuning_options import add_diagnose, add_sweep
from nnanomaly.paths import SWEEP, Paths


def sweep(argv: Arguments = None) -> int:
    """Choose noise level and guidance of a trained ddpm on its validation fold.

    The best setting goes into the plans.
    """
    parser = options.new_parser(sweep)
    add_sweep(parser)
    return run_command(parser, argv, _sweep)


def diagnose(argv: Arguments = None) -> int:
    """Follow known lesions through the prediction: at which step are they lost?

    The lesions are those of a validation fold.
    """
    parser = options.new_parser(diagnose)
    add_diagnose(parser)
    return run_command(parser, argv, _diagnose)


def _sweep(arguments: argparse.Namespace) -> int:
    from nnanomaly.tuning.sweep.api import SweepOptions, sweep_fold

    paths = Paths.from_env()
    wanted = SweepOptions(
        sigmas=tuple(arguments.sigmas) if arguments.sigmas else None,
        scales=tuple(arguments.scales) if arguments.scales else None,
        drawn=arguments.drawn,
        metric=arguments.metric,
        device=arguments.device,
        seed=arguments.seed,
    )
    dataset = paths.dataset_name(arguments.dataset_name_or_id)
    outcomes, best = sweep_fold(
        paths, dataset, fold=arguments.f, plans_name=options.plans_name(arguments), options=wanted
    )
    scale = f", {best.guidance} guidance {best.guidance_scale:g}" if best.guidance != "none" else ", no guidance"
    say(
        f"best of {len(outcomes)} settings: sigma {best.sigma:g}{scale}; {arguments.metric} "
        f"{getattr(best, arguments.metric):.3f} on {best.num_lesions} lesions; written into the plans; all settings: "
        f"{paths.fold(dataset, options.plans_name(arguments), 'ddpm', arguments.f) / SWEEP}"
    )
    return 0


def _diagnose(arguments: argparse.Namespace) -> int:
    from nnanomaly.tuning.diagnose.api import DiagnoseOptions, diagnose_fold
    from nnanomaly.tuning.diagnose.files import describe

    paths = Paths.from_env()
    wanted = DiagnoseOptions(
        drawn=arguments.drawn,
        checkpoint=arguments.chk,
        device=arguments.device,
        seed=arguments.seed,
        rounds=arguments.rounds,
    )
    dataset = paths.dataset_name(arguments.dataset_name_or_id)
    diagnosis, folder = diagnose_fold(
        paths, dataset, fold=arguments.f, plans_name=options.plans_name(arguments), options=wanted
    )
    say(describe(diagnosis))
    say(f"every lesion: {folder / 'diagnose.csv'}")
    return 0
