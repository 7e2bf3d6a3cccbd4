"""The commands that pass a trained model on: to a zip, and from one."""

import argparse
from pathlib import Path

from nnanomaly.cli import options
from nnanomaly.cli.output import say
from nnanomaly.cli.refusals import refuse_other_configuration, refuse_other_trainer
from nnanomaly.cli.run import Arguments, run_command
from nnanomaly.paths import Paths


def export_model_to_zip(argv: Arguments = None) -> int:
    """Write a trained model to a zip that holds no pickles, no case ids and no paths."""
    parser = options.new_parser(export_model_to_zip)
    options.add_export(parser)
    return run_command(parser, argv, _export)


def _export(arguments: argparse.Namespace) -> int:
    from nnanomaly.inference.loaded_model import ModelRequest
    from nnanomaly.model_sharing.export_api import ExportOptions, export_model

    refuse_other_trainer(arguments.tr)
    refuse_other_configuration(arguments.c)
    paths = Paths.from_env()
    request = ModelRequest(
        folds=tuple(arguments.f) if arguments.f else None,
        plans_name=options.plans_name(arguments),
        checkpoint=arguments.chk,
    )
    wanted = ExportOptions(model=request, licence=arguments.licence, origin=arguments.origin, overwrite=arguments.force)
    manifest = export_model(paths, paths.dataset_name(arguments.d), arguments.o, wanted)
    say(f"{arguments.o}: {manifest.dataset}, plans {manifest.plans_name}, folds {', '.join(manifest.folds)}")
    return 0


def install_pretrained_model_from_zip(argv: Arguments = None) -> int:
    """Check an exported model and install it into nnanomaly_results."""
    parser = options.new_parser(install_pretrained_model_from_zip)
    parser.add_argument("zip", type=Path, help="the exported model")
    parser.add_argument("--force", action="store_true", help="replace an installed model of the same name")
    parser.add_argument(
        "-max_size", type=float, default=20.0, help="largest size that it may unpack to, in GB (default %(default)g)"
    )
    return run_command(parser, argv, _install)


def _install(arguments: argparse.Namespace) -> int:
    from nnanomaly.model_sharing.install_api import install_model
    from nnanomaly.model_sharing.model_card import predict_command

    manifest = install_model(Paths.from_env(), arguments.zip, overwrite=arguments.force, max_gb=arguments.max_size)
    say(f"installed {manifest.dataset}, plans {manifest.plans_name}, folds {', '.join(manifest.folds)}")
    say(f"origin: {_one_line(manifest.origin)}")
    say(f"licence: {_one_line(manifest.licence)}")
    say(f"Next: {predict_command(manifest.dataset, manifest.plans_name)}")
    return 0


def _one_line(text: str) -> str:
    """The words of a stranger without anything that moves a terminal's cursor."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip() or "not stated"
