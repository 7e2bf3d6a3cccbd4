"""Tables can be made, and other tools' results read, on a laptop: without torch."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "modules",
    [
        "nnanomaly.evaluation.evaluate_folder, nnanomaly.evaluation.tables",
        "nnanomaly.baselines.compare_api, nnanomaly.evaluation.comparison_files",
        "nnanomaly.baselines.import_nndetection, nnanomaly.baselines.export_predictions",
    ],
)
def test_evaluation_baselines_and_tables_import_without_torch(modules: str) -> None:
    program = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr or "torch was imported"
