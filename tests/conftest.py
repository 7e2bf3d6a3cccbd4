"""Fixtures that several test modules need."""

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import ArrayLike

from nnanomaly.paths import Paths
from nnanomaly.plans import PLANS_NAMES, GatePlan, Plans, save_plans
from nnanomaly.stages import HEAD, NETWORKS, STAGES

# Tests work on tiny tensors, where a second thread costs more than it brings; read when torch is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]

NETWORK_ATTEMPTS: list[str] = []
"""What was asked of a network since the last test: nothing, or that test fails."""
_LOCAL = ("", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::")


def _forbid_network(event: str, arguments: tuple[object, ...]) -> None:
    """Refuse to look up or reach another machine (sockets of files and loopback are not one)."""
    target: object = None
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        target = arguments[1][0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        target = arguments[0]
    name = target.decode(errors="replace") if isinstance(target, bytes) else target
    if isinstance(name, str) and name not in _LOCAL:
        NETWORK_ATTEMPTS.append(f"{event} {name}")
        raise AssertionError(f"a test must not use the network: {event} {name}")


sys.addaudithook(_forbid_network)


@pytest.fixture(autouse=True)
def network_attempts() -> Iterator[list[str]]:
    """Fail a test whose code tried to reach another machine, even if it swallowed the refusal."""
    NETWORK_ATTEMPTS.clear()
    yield NETWORK_ATTEMPTS
    assert not NETWORK_ATTEMPTS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need a GPU where there is none; torch is only imported when one of them was collected."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not _has_gpu():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def _has_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Data for development beside or above the checkout; tests that need it are skipped elsewhere."""
    folders = [parent / "shared" for parent in ROOT.parents]
    found = next((folder for folder in folders if (folder / "data").is_dir()), None)
    if found is None:
        pytest.skip(f"{folders[0]} is not here")
    return found


@pytest.fixture(scope="session")
def baselines_sample(shared: Path) -> Path:
    """Results of nnU-Net and nnDetection with expected numbers."""
    folder = shared / "data" / "baselines_sample"
    if not folder.is_dir():
        pytest.skip(f"no comparison data at {folder}")
    return folder


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Three empty root folders."""
    roots = [tmp_path / name for name in ("raw", "preprocessed", "results")]
    for folder in roots:
        folder.mkdir()
    return Paths(*roots)


@pytest.fixture
def write_nifti() -> Callable[..., Path]:
    """Write an array `[Z, Y, X]` of a canonical grid with nibabel alone: an oracle that shares no code with ours.

    `write_nifti(path, array, spacing_mm=(z, y, x), origin_mm=(z, y, x))` returns `path`.
    """

    def write(
        path: Path, array: ArrayLike, *, spacing_mm: ArrayLike = (1.0, 1.0, 1.0), origin_mm: ArrayLike = (0.0, 0.0, 0.0)
    ) -> Path:
        towards_left, towards_posterior = -1.0, -1.0  # NIfTI counts towards right and anterior
        signs = np.array([towards_left, towards_posterior, 1.0])
        affine = np.diag([*(signs * np.asarray(spacing_mm, float)[::-1]), 1.0])
        affine[:3, 3] = signs * np.asarray(origin_mm, float)[::-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(np.asarray(array).transpose(2, 1, 0), affine), path)
        return path

    return write


@pytest.fixture
def fake_totalsegmentator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name on the search path, with made-up weights; its folder, where `calls.jsonl` appears."""
    folder = tmp_path / "fake program"
    folder.mkdir()
    program = folder / "TotalSegmentator"
    program.write_text(f"#!{sys.executable}\n" + (ROOT / "tests" / "fake_totalsegmentator.py").read_text())
    program.chmod(0o755)
    weights = folder / "weights"
    model = weights / "Dataset297_TotalSegmentator_total_3mm_1559subj" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (model / "fold_0").mkdir(parents=True)
    (model / "fold_0" / "checkpoint_final.pth").write_bytes(b"weights")
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(weights))
    monkeypatch.delenv("TOTALSEG_HOME_DIR", raising=False)
    return folder


@pytest.fixture(scope="session")
def shrink_plans() -> Callable[..., Plans]:
    """`shrink_plans(plans)`: the same plans with the smallest networks, a few iterations and a few solver steps."""

    def shrink(plans: Plans, *, patch_size: tuple[int, int, int], spacing_mm: float, num_iterations: int) -> Plans:
        for stage in NETWORKS:
            plans = plans.with_training(
                stage,
                num_iterations=num_iterations,
                batch_size=2,
                learning_rate=1e-3,
                warmup_iterations=0,
                validate_every=2,
                checkpoint_every=2,
            )
        vqgan = replace(plans.vqgan, stride=(2, 2, 2), widths=(8, 8), latent_channels=4, num_codes=32)
        blocks = {"unet3d": 1, "factorised": 2}[plans.ddpm.architecture]
        ddpm = replace(plans.ddpm, widths=(8, 8), blocks_per_level=blocks, attention_levels=(), encodings_per_patch=2)
        spacing = (spacing_mm,) * 3
        return replace(
            plans,
            preprocessing=replace(plans.preprocessing, spacing_mm=spacing, patch_size=patch_size),
            vqgan=replace(vqgan, discriminator_start=1, gate=GatePlan()),  # two iterations keep nothing of a lesion
            classifier=replace(plans.classifier, widths=(8,), blocks_per_level=1),
            ddpm=ddpm,
            head=replace(plans.head, widths=(4, 8), variants_per_patch=2),
            inference=replace(plans.inference, num_steps=3),
        )

    return shrink


@pytest.fixture(scope="session")
def tiny_plans(shrink_plans: Callable[..., Plans]) -> Callable[..., Plans]:
    """`tiny_plans(preset, dataset=name)`: plans of a preset for patches of 16 x 16 x 16 voxels of 4 mm."""

    def build(preset: str, *, dataset: str) -> Plans:
        from nnanomaly.experiment_planning.presets import PRESETS

        base = PRESETS[preset]
        plans = Plans(
            dataset_name=dataset,
            plans_name=PLANS_NAMES[preset],
            preset=preset,
            gpu_memory_target_gb=1.0,
            organs=("kidney_left", "kidney_right"),
            preprocessing=base.preprocessing,
            vqgan=base.vqgan,
            classifier=base.classifier,
            ddpm=base.ddpm,
            head=base.head,
            inference=base.inference,
            reasons={},
        )
        return shrink_plans(plans, patch_size=(16, 16, 16), spacing_mm=4.0, num_iterations=2)

    return build


@pytest.fixture(scope="session")
def with_codec() -> Callable[[Plans, str], Plans]:
    """`with_codec(plans, name)`: what a user edits in a plans file to get another codec."""

    def change(plans: Plans, codec: str) -> Plans:
        stride, channels = {"haar": ((2, 2, 2), 8), "identity": ((1, 1, 1), 1)}.get(
            codec, (plans.vqgan.stride, plans.vqgan.latent_channels)
        )
        return replace(
            plans,
            vqgan=replace(plans.vqgan, codec=codec, stride=stride, latent_channels=channels),
            inference=replace(plans.inference, quantise=codec == "vq"),
        )

    return change


@pytest.fixture(scope="session")
def write_untrained_model() -> Callable[..., None]:
    """`write_untrained_model(paths, plans)`: a fold as training leaves it, calibration included, of random weights."""

    def write(paths: Paths, plans: Plans, *, validation: dict[str, float] | None = None, fold: int = 0) -> None:
        import torch

        from nnanomaly.build import build_classifier, build_head, build_unet, build_vqgan
        from nnanomaly.checkpoint import FINAL, checkpoint_hash, save_checkpoint
        from nnanomaly.utilities.json_io import write_json

        torch.manual_seed(0)
        builders = {"vqgan": build_vqgan, "classifier": build_classifier, "ddpm": build_unet}
        if plans.inference.detector == HEAD:
            builders[HEAD] = build_head
        hashes: dict[str, str] = {}
        for stage, build in builders.items():
            network, folder = build(plans), paths.fold(plans.dataset_name, plans.plans_name, stage, fold)
            if stage == "vqgan" and plans.vqgan.codec == "vq":
                network.codebook.codes.normal_()
            state = {
                "plans_identity": plans.identity_of(stage),
                "averaged_weights": network.state_dict(),
                "validation": {"auc_sigma_1.0": 0.9} if validation is None else validation,
                **({"vqgan_sha256": hashes["vqgan"]} if hashes else {}),
                **({"checkpoints": dict(hashes)} if stage == HEAD else {}),
            }
            save_checkpoint(folder / FINAL, state)
            hashes[stage] = checkpoint_hash(folder / FINAL)
            save_plans(folder.parent / "plans.json", plans)
        channels = plans.vqgan.latent_channels
        scaling = {"mean": [0.0] * channels, "std": [1.0] * channels, "low": [-3.0], "high": [3.0]}
        folders = {stage: paths.fold(plans.dataset_name, plans.plans_name, stage, fold) for stage in STAGES}
        write_json(folders["vqgan"] / "latent_scaling.json", {"vqgan_sha256": hashes["vqgan"], "values": scaling})
        calibration = {
            "statistics": {"edges_mm": [0.0], "mean_hu": [20.0, 20.0], "std_hu": [10.0, 10.0]},
            "threshold": 3.0,
            "false_candidates_per_organ": 0.5,
            "num_organs": 4,
            "guidance": True,
            "guidance_reason": "",
            "checkpoints": hashes,
        }
        write_json(folders["ddpm"] / "calibration.json", calibration)
        description = {
            "channel_names": {"0": "CT"},
            "labels": {"background": 0, "tumor": 1},
            "numTraining": 6,
            "file_ending": ".nii.gz",
            "nnanomaly": {"organs": list(plans.organs)},
        }
        (folders["ddpm"].parent / "dataset.json").write_text(json.dumps(description), encoding="utf-8")

    return write
