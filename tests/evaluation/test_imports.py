"""Tables can be made on a laptop: evaluation imports no torch."""

import subprocess
import sys


def test_evaluation_imports_no_torch() -> None:
    modules = ("evaluate_folder", "lesion_labels", "tables", "summary")
    imports = "".join(f"import nnanomaly.evaluation.{module}\n" for module in modules)
    code = f"import sys\n{imports}sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
