"""Commands from a raw dataset to patches."""

import argparse

from nnanomaly.cli import options
from nnanomaly.cli.run import PARTIAL, Arguments, run_command
from nnanomaly.paths import Paths
from nnanomaly.plans import PLANS_NAMES


def plan_and_preprocess(argv: Arguments = None) -> int:
    """Extract the fingerprint of datasets, plan, and preprocess their organ patches."""
    parser = options.new_parser(plan_and_preprocess)
    options.add_dataset(parser)
    options.add_planning(parser)
    options.add_extraction(parser)
    parser.add_argument("--no_pp", action="store_true", help="plan only, do not preprocess")
    options.add_processes(parser)
    return run_command(parser, argv, _plan_and_preprocess)


def _plan_and_preprocess(arguments: argparse.Namespace) -> int:
    from nnanomaly.experiment_planning import plan_and_preprocess_api as api

    paths = Paths.from_env()
    failures = 0
    for identifier in arguments.d:
        dataset = paths.dataset_name(identifier)
        api.extract_fingerprint(
            paths,
            dataset,
            num_processes=arguments.np,
            clean=arguments.clean,
            verify=arguments.verify_dataset_integrity,
        )
        api.plan_experiment(paths, dataset, preset=arguments.preset, gpu_memory_target_gb=arguments.gpu_memory_target)
        if not arguments.no_pp:
            failures += api.preprocess(
                paths, dataset, plans_name=PLANS_NAMES[arguments.preset], num_processes=arguments.np
            )
    return PARTIAL if failures else 0


def extract_fingerprint(argv: Arguments = None) -> int:
    """Measure a dataset: spacings, organ extents, intensities, label counts."""
    parser = options.new_parser(extract_fingerprint)
    options.add_dataset(parser)
    options.add_extraction(parser)
    options.add_processes(parser)

    def run(arguments: argparse.Namespace) -> int:
        from nnanomaly.experiment_planning import plan_and_preprocess_api as api

        paths = Paths.from_env()
        for identifier in arguments.d:
            dataset = paths.dataset_name(identifier)
            verify = arguments.verify_dataset_integrity
            api.extract_fingerprint(paths, dataset, num_processes=arguments.np, clean=arguments.clean, verify=verify)
        return 0

    return run_command(parser, argv, run)


def plan_experiment(argv: Arguments = None) -> int:
    """Write the plans file from the fingerprint, and the folds."""
    parser = options.new_parser(plan_experiment)
    options.add_dataset(parser)
    options.add_planning(parser)

    def run(arguments: argparse.Namespace) -> int:
        from nnanomaly.experiment_planning import plan_and_preprocess_api as api

        paths = Paths.from_env()
        for identifier in arguments.d:
            dataset = paths.dataset_name(identifier)
            api.plan_experiment(
                paths, dataset, preset=arguments.preset, gpu_memory_target_gb=arguments.gpu_memory_target
            )
        return 0

    return run_command(parser, argv, run)


def preprocess(argv: Arguments = None) -> int:
    """Cut and resample the organ patches that the plans ask for.

    Patches that are already there are kept.
    """
    parser = options.new_parser(preprocess)
    options.add_dataset(parser)
    options.add_plans(parser)
    options.add_processes(parser)

    def run(arguments: argparse.Namespace) -> int:
        from nnanomaly.experiment_planning import plan_and_preprocess_api as api

        paths = Paths.from_env()
        names = [paths.dataset_name(identifier) for identifier in arguments.d]
        plans_name = options.plans_name(arguments)
        failures = sum(api.preprocess(paths, name, plans_name=plans_name, num_processes=arguments.np) for name in names)
        return PARTIAL if failures else 0

    return run_command(parser, argv, run)
