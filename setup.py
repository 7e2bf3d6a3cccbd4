"""Build and installation; every other setting of the project lies in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
COMMANDS = (
    "convert_dicom",
    "convert_kits",
    "convert_msd",
    "make_dataset",
    "segment_organs",
    "label_reports",
    "plan_and_preprocess",
    "extract_fingerprint",
    "plan_experiment",
    "preprocess",
    "plot_overlay_pngs",
    "train",
    "sweep",
    "find_best_configuration",
    "diagnose",
    "predict",
    "export_dicom",
    "evaluate_folder",
    "evaluate",
    "compare",
    "report",
    "import_nndetection",
    "export_nndetection",
    "export_model_to_zip",
    "install_pretrained_model_from_zip",
    "doctor",
    "demo",
)


def read_version() -> str:
    """The version, which is written down in the package alone."""
    text = (ROOT / "nnanomaly" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, flags=re.MULTILINE)
    if match is None:
        raise RuntimeError("nnanomaly/__init__.py has no line __version__ = ...")
    return match[1]


setup(
    name="nnanomaly",
    version=read_version(),
    description="Self-configuring, weakly supervised lesion detection in CT by latent diffusion",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "nnanomaly/report/assets/THIRD_PARTY_NOTICES.txt"],
    packages=find_packages(include=["nnanomaly", "nnanomaly.*"]),
    package_data={
        "nnanomaly": ["py.typed", "pseudo_labels/packs/*.json", "report/assets/*", "report/templates/*"],
    },
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.10",
        "numpy>=1.26",
        "scipy>=1.11",
        "scikit-image>=0.22",
        "scikit-learn>=1.3",
        "pandas>=2",
        "nibabel>=5.2",
        "SimpleITK>=2.5.7",
        "batchgenerators>=0.25",
        "dynamic-network-architectures>=0.4,<0.5",
        "connected-components-3d>=3.12",
        "safetensors>=0.5",
        "matplotlib>=3.8",
        "threadpoolctl>=3.2",
        "packaging>=23",
        "jinja2>=3.1",
        "pyyaml>=6",
        "tqdm",
    ],
    extras_require={
        "dicom": ["pydicom>=3.0.2", "highdicom>=0.24"],
        "dev": [
            "pytest>=8",
            "hypothesis",
            "ruff>=0.15",
            "mypy>=1.15",
            "import-linter>=2.3",
            "pydicom>=3.0.2",
            "highdicom>=0.24",
            "tensorboard>=2.16",
            "selenium>=4.20",
            "argcomplete>=3.5",
        ],
        "completion": ["argcomplete>=3.5"],
        "tensorboard": ["tensorboard>=2.16"],
        "wandb": ["wandb>=0.18"],
        "mlflow": ["mlflow-skinny>=3"],
        "totalseg": ["TotalSegmentator>=2.4"],
        "oracles": ["monai>=1.6", "diffusers", "PyWavelets", "picai_eval"],
    },
    entry_points={
        "console_scripts": [
            "nnanomaly = nnanomaly.cli.overview:main",
            *(f"nnanomaly_{command} = nnanomaly.cli:{command}" for command in COMMANDS),
        ]
    },
)
