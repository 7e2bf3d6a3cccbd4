"""The commands: parse, read the environment once, call one function, turn user errors into one line and an exit status.

Nothing heavy is imported before a command knows what it has to do, so that `-h` answers at once.
"""

from nnanomaly.cli.comparison import compare, evaluate
from nnanomaly.cli.conversion import convert_kits, convert_msd, make_dataset
from nnanomaly.cli.demonstration import demo
from nnanomaly.cli.dicom import convert_dicom, export_dicom
from nnanomaly.cli.evaluation import evaluate_folder
from nnanomaly.cli.interchange import export_nndetection, import_nndetection
from nnanomaly.cli.labelling import label_reports
from nnanomaly.cli.masks import segment_organs
from nnanomaly.cli.planning import extract_fingerprint, plan_and_preprocess, plan_experiment, preprocess
from nnanomaly.cli.prediction import predict
from nnanomaly.cli.reporting import report
from nnanomaly.cli.training import train
from nnanomaly.cli.tuning import sweep

__all__ = [
    "compare",
    "convert_dicom",
    "convert_kits",
    "convert_msd",
    "demo",
    "evaluate",
    "evaluate_folder",
    "export_dicom",
    "export_nndetection",
    "extract_fingerprint",
    "import_nndetection",
    "label_reports",
    "make_dataset",
    "plan_and_preprocess",
    "plan_experiment",
    "predict",
    "preprocess",
    "report",
    "segment_organs",
    "sweep",
    "train",
]
