"""The commands: parse, read the environment once, call one function, turn user errors into one line and an exit status.

Nothing heavy is imported before a command knows what it has to do, so that `-h` answers at once.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from nnanomaly import cli_arguments
from nnanomaly.paths import Paths, let_threads_sleep, number_of_workers_from_env
from nnanomaly.plans import PLANS_NAMES
from nnanomaly.utilities.errors import ConfigurationError, Interrupted, UserError

PARTIAL = 4  # exit status: some cases failed or have no organ, the rest is complete

Arguments = Sequence[str] | None


def plan_and_preprocess(argv: Arguments = None) -> int:
    """nnanomaly_plan_and_preprocess."""
    parser = cli_arguments.new_parser("Extract the fingerprint of datasets, plan, and preprocess their organ patches.")
    cli_arguments.add_dataset(parser)
    cli_arguments.add_planning(parser)
    cli_arguments.add_extraction(parser)
    parser.add_argument("--no_pp", action="store_true", help="plan only, no preprocessing")
    cli_arguments.add_processes(parser)
    return _run(parser, argv, _plan_and_preprocess)


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
    """nnanomaly_extract_fingerprint."""
    parser = cli_arguments.new_parser("Measure a dataset: spacings, organ extents, intensities, label counts.")
    cli_arguments.add_dataset(parser)
    cli_arguments.add_extraction(parser)
    cli_arguments.add_processes(parser)

    def run(arguments: argparse.Namespace) -> int:
        from nnanomaly.experiment_planning import plan_and_preprocess_api as api

        paths = Paths.from_env()
        for identifier in arguments.d:
            dataset = paths.dataset_name(identifier)
            verify = arguments.verify_dataset_integrity
            api.extract_fingerprint(paths, dataset, num_processes=arguments.np, clean=arguments.clean, verify=verify)
        return 0

    return _run(parser, argv, run)


def plan_experiment(argv: Arguments = None) -> int:
    """nnanomaly_plan_experiment."""
    parser = cli_arguments.new_parser("Write the plans file from the fingerprint, and the folds.")
    cli_arguments.add_dataset(parser)
    cli_arguments.add_planning(parser)

    def run(arguments: argparse.Namespace) -> int:
        from nnanomaly.experiment_planning import plan_and_preprocess_api as api

        paths = Paths.from_env()
        for identifier in arguments.d:
            dataset = paths.dataset_name(identifier)
            api.plan_experiment(
                paths, dataset, preset=arguments.preset, gpu_memory_target_gb=arguments.gpu_memory_target
            )
        return 0

    return _run(parser, argv, run)


def preprocess(argv: Arguments = None) -> int:
    """nnanomaly_preprocess."""
    parser = cli_arguments.new_parser(
        "Cut and resample the organ patches that the plans ask for; what is already there is kept."
    )
    cli_arguments.add_dataset(parser)
    cli_arguments.add_plans(parser)
    cli_arguments.add_processes(parser)

    def run(arguments: argparse.Namespace) -> int:
        from nnanomaly.experiment_planning import plan_and_preprocess_api as api

        paths = Paths.from_env()
        names = [paths.dataset_name(identifier) for identifier in arguments.d]
        plans_name = cli_arguments.plans_name(arguments)
        failures = sum(api.preprocess(paths, name, plans_name=plans_name, num_processes=arguments.np) for name in names)
        return PARTIAL if failures else 0

    return _run(parser, argv, run)


def train(argv: Arguments = None) -> int:
    """nnanomaly_train."""
    parser = cli_arguments.new_parser(
        "Train a stage; `ddpm` (or `all`) trains the stages it needs first, then calibrates."
    )
    cli_arguments.add_training(parser)
    return _run(parser, argv, _train)


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
    plans_name = cli_arguments.plans_name(arguments)
    changes = {
        "num_iterations": arguments.num_iterations,
        "learning_rate": arguments.lr,
        "batch_size": arguments.batch_size,
        "seed": arguments.seed,
    }
    options = TrainingOptions(
        device=arguments.device,
        num_workers=arguments.num_workers,
        resume=arguments.c,
        changes={key: value for key, value in changes.items() if value is not None},
    )
    stage = "ddpm" if arguments.configuration == "all" else arguments.configuration
    if not arguments.val:
        train_stages(paths, dataset, stage, fold=arguments.fold, plans_name=plans_name, options=options)
    if stage == "ddpm":
        calibrate_fold(paths, dataset, fold=arguments.fold, plans_name=plans_name, device=arguments.device)
    return 0


def predict(argv: Arguments = None) -> int:
    """nnanomaly_predict."""
    parser = cli_arguments.new_parser("Find lesions: writes masks, anomaly maps, reconstructions and candidates.")
    cli_arguments.add_prediction(parser)
    return _run(parser, argv, _predict)


def _predict(arguments: argparse.Namespace) -> int:
    from nnanomaly.inference.predict_api import PredictionOptions, predict_folder

    options = PredictionOptions(
        dataset=arguments.d,
        folds=tuple(arguments.f) if arguments.f else None,
        plans_name=cli_arguments.plans_name(arguments),
        organ_masks=arguments.organ_masks,
        checkpoint=arguments.chk,
        device=arguments.device,
        num_parts=arguments.num_parts,
        part_id=arguments.part_id,
        continue_prediction=arguments.continue_prediction,
    )
    return PARTIAL if predict_folder(Paths.from_env(), arguments.i, arguments.o, options) else 0


def evaluate_folder(argv: Arguments = None) -> int:
    """nnanomaly_evaluate_folder."""
    parser = cli_arguments.new_parser(
        "Compare a folder of predictions with a folder of references; writes summary.json."
    )
    parser.add_argument("gt_folder", type=Path, help="folder of reference label maps")
    parser.add_argument("pred_folder", type=Path, help="folder of predicted masks")
    parser.add_argument("-djfile", type=Path, default=None, help="dataset.json that names the lesion labels")
    parser.add_argument("-l", nargs="+", type=int, default=None, help="label values that are lesions")
    parser.add_argument("-o", type=Path, default=None, help="folder for the summaries (default: the predictions)")
    parser.add_argument("--allow_missing", action="store_true", help="count a missing prediction as an empty one")
    cli_arguments.add_processes(parser)
    return _run(parser, argv, _evaluate_folder)


def _evaluate_folder(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from nnanomaly.evaluation.evaluate_folder import evaluate_folder as evaluate
    from nnanomaly.evaluation.lesion_labels import find_lesion_labels
    from nnanomaly.evaluation.tables import overall_table, size_table, to_markdown

    labels = find_lesion_labels(
        arguments.gt_folder, arguments.pred_folder, dataset_json=arguments.djfile, reference=arguments.l or ()
    )
    with tqdm(desc="evaluating", unit="case", disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        evaluation = evaluate(
            arguments.gt_folder,
            arguments.pred_folder,
            labels=labels,
            allow_missing=arguments.allow_missing,
            output_folder=arguments.o,
            num_processes=arguments.np,
            progress=show,
        )
    for case, reason in evaluation.failures.items():
        logging.getLogger(__name__).error("%s left out: %s", case, reason)
    methods = {arguments.pred_folder.name: evaluation.metrics}
    print(to_markdown(overall_table(methods)))
    print(to_markdown(size_table(methods)))
    return PARTIAL if evaluation.failures else 0


def demo(argv: Arguments = None) -> int:
    """nnanomaly_demo."""
    parser = cli_arguments.new_parser(
        "Write a phantom dataset, run the three commands and the evaluation on it, show the result."
    )
    parser.add_argument("-o", type=Path, default=Path("nnanomaly_demo"), help="folder for everything the demo writes")
    parser.add_argument("-seed", type=int, default=0, help="seed of the phantom")

    def run(arguments: argparse.Namespace) -> int:
        from nnanomaly.demo import run_demo

        print(run_demo(arguments.o, seed=arguments.seed))
        return 0

    return _run(parser, argv, run)


def _run(parser: argparse.ArgumentParser, argv: Arguments, command: Callable[[argparse.Namespace], int]) -> int:
    """Parse, run, and turn what a user can mend into one line on stderr and an exit status."""
    arguments = parser.parse_args(argv)
    let_threads_sleep()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("nnanomaly").setLevel(logging.DEBUG if arguments.verbose else logging.INFO)
    try:
        if "np" in arguments and arguments.np is None:
            arguments.np = number_of_workers_from_env() or cli_arguments.DEFAULT_PROCESSES
        return command(arguments)
    except UserError as error:
        return _fail(error, error.exit_code, arguments.verbose)
    except FileNotFoundError as error:
        return _fail(error, 3, arguments.verbose)
    except (OSError, MemoryError) as error:
        return _fail(error, 5, arguments.verbose)
    except Interrupted as stop:
        return _fail(stop, stop.exit_code, arguments.verbose)
    except KeyboardInterrupt:
        return 130


def _fail(error: BaseException, status: int, verbose: bool) -> int:
    if verbose:
        logging.getLogger(__name__).exception("traceback")
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return status
