"""The commands: parse, read the environment once, call one function, turn user errors into one line and an exit status.

Nothing heavy is imported before a command knows what it has to do, so that `-h` answers at once.
"""

from nnanomaly.cli.best_configuration import find_best_configuration
from nnanomaly.cli.comparison import compare, evaluate
from nnanomaly.cli.conversion import convert_kits, convert_msd, make_dataset
from nnanomaly.cli.demonstration import demo
from nnanomaly.cli.dicom import convert_dicom, export_dicom
from nnanomaly.cli.doctor import doctor
from nnanomaly.cli.evaluation import evaluate_folder
from nnanomaly.cli.interchange import export_nndetection, import_nndetection
from nnanomaly.cli.labelling import label_reports
from nnanomaly.cli.masks import segment_organs
from nnanomaly.cli.overlays import plot_overlay_pngs
from nnanomaly.cli.planning import extract_fingerprint, plan_and_preprocess, plan_experiment, preprocess
from nnanomaly.cli.prediction import predict
from nnanomaly.cli.reporting import report
from nnanomaly.cli.sharing import export_model_to_zip, install_pretrained_model_from_zip
from nnanomaly.cli.training import train
from nnanomaly.cli.tuning import diagnose, sweep

__all__ = [
    "compare",
    "convert_dicom",
    "convert_kits",
    "convert_msd",
    "demo",
    "diagnose",
    "doctor",
    "evaluate",
    "evaluate_folder",
    "export_dicom",
    "export_model_to_zip",
    "export_nndetection",
    "extract_fingerprint",
    "find_best_configuration",
    "import_nndetection",
    "install_pretrained_model_from_zip",
    "label_reports",
    "make_dataset",
    "plan_and_preprocess",
    "plan_experiment",
    "plot_overlay_pngs",
    "predict",
    "preprocess",
    "report",
    "segment_organs",
    "sweep",
    "train",
]
