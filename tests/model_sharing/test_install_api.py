"""An installed model predicts what the original predicts; an archive that is wrong changes nothing."""

import contextlib
import json
import os
import resource
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from nnanomaly.checkpoint import find_folds
from nnanomaly.inference.loaded_model import ModelRequest
from nnanomaly.inference.predictor import Predictor
from nnanomaly.model_sharing import install_api
from nnanomaly.model_sharing.archive import describe_files, pack, unpack
from nnanomaly.model_sharing.export_api import export_model
from nnanomaly.model_sharing.install_api import install_model
from nnanomaly.paths import Paths
from nnanomaly.plans import load_plans
from nnanomaly.utilities import replacement
from nnanomaly.utilities.errors import ConfigurationError, EnvironmentFault, IntegrityError, UserError
from nnanomaly.utilities.json_io import to_document
from nnanomaly.utilities.leftovers import temporary_folder, temporary_name

DATASET, PLANS_NAME = "Dataset501_Tiny", "nnAnomalyPlans"


def install(paths: Paths, archive: Path, *, overwrite: bool = False, max_gb: float = 1.0) -> None:
    install_model(paths, archive, overwrite=overwrite, max_gb=max_gb)


def predict(paths: Paths) -> Any:
    """A scan of noise with two blocks as organs."""
    image = np.random.default_rng(0).normal(40, 10, (32, 24, 20))
    affine = np.diag([-4.0, -4.0, 6.0, 1.0])
    masks = {}
    for organ, first in (("kidney_left", 20), ("kidney_right", 4)):
        mask = np.zeros(image.shape, np.uint8)
        mask[first : first + 8, 8:16, 6:14] = 1
        image += 60 * mask
        masks[organ] = (mask, affine)
    predictor = Predictor.from_trained("501", paths=paths, device="cpu")
    return predictor.predict((image, affine), organ_masks=masks)


def test_an_installed_model_predicts_what_the_original_predicts(exported: SimpleNamespace, paths: Paths) -> None:
    install(paths, exported.archive)
    assert find_folds(paths.model(DATASET, PLANS_NAME, "head")) == ["0", "1"]
    assert [path.name for path in paths.results_folder().iterdir()] == [DATASET]
    before, after = predict(exported.paths), predict(paths)
    assert before.mask.any()
    np.testing.assert_array_equal(before.mask, after.mask)
    np.testing.assert_array_equal(before.anomaly_map, after.anomaly_map)
    np.testing.assert_array_equal(before.reconstruction, after.reconstruction)
    assert before.candidates == after.candidates
    assert before.threshold == after.threshold == 0.45


def test_an_installed_model_can_be_exported_and_is_the_same_again(
    exported: SimpleNamespace, paths: Paths, tmp_path: Path
) -> None:
    install(paths, exported.archive)
    export_model(paths, DATASET, tmp_path / "again.zip", exported.options())
    first, second = tmp_path / "first", tmp_path / "second"
    one, two = unpack(exported.archive, first, max_bytes=1e9), unpack(tmp_path / "again.zip", second, max_bytes=1e9)
    weights = {name for name in one.files if name.endswith(".safetensors")}
    assert len(weights) == 8
    assert {name: one.files[name] for name in weights} == {name: two.files[name] for name in weights}


def test_another_checkpoint_is_installed_as_the_final_one(
    exported: SimpleNamespace, paths: Paths, tmp_path: Path
) -> None:
    results = Path(shutil.copytree(exported.paths.results_folder(), tmp_path / "trained"))
    trained = Paths(None, None, results)
    folder = trained.fold(DATASET, PLANS_NAME, "ddpm", 0)
    (folder / "checkpoint_final.pth").rename(folder / "checkpoint_best.pth")
    (folder / "calibration.json").rename(folder / "calibration_best.json")
    request = ModelRequest(plans_name=PLANS_NAME, folds=("0",), checkpoint="checkpoint_best.pth")
    export_model(trained, DATASET, tmp_path / "model.zip", exported.options(model=request))
    install(paths, tmp_path / "model.zip")
    assert find_folds(paths.model(DATASET, PLANS_NAME, "ddpm")) == ["0"]
    card = (paths.model(DATASET, PLANS_NAME, "ddpm") / "MODEL_CARD.md").read_text()
    assert "| Checkpoint | checkpoint_best.pth |" in card


def test_a_model_that_is_there_is_kept_unless_it_may_be_replaced(exported: SimpleNamespace, paths: Paths) -> None:
    mine = paths.model(DATASET, PLANS_NAME, "head") / "mine.txt"
    other = paths.model(DATASET, "otherPlans", "ddpm") / "other.txt"
    for path in (mine, other):
        path.parent.mkdir(parents=True)
        path.write_text("precious")
    with pytest.raises(ConfigurationError, match=r"CFG-OUTPUT.*--force"):
        install(paths, exported.archive)
    assert mine.read_text() == "precious"
    install(paths, exported.archive, overwrite=True)
    assert not mine.exists()
    assert other.read_text() == "precious"
    assert sorted(path.name for path in paths.results_folder().iterdir()) == [DATASET]


class Rewriter:
    """Archives that a stranger might send: the good one with one thing changed."""

    def __init__(self, good: Path, folder: Path) -> None:
        self.folder, self.target = folder / "unpacked", folder / "changed.zip"
        unpack(good, self.folder, max_bytes=1e9)

    def edit(self, name: str, **changes: object) -> None:
        """Change top keys of a JSON member."""
        path = self.folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    def edit_in(self, name: str, key: str, **changes: object) -> None:
        """Change keys of an object in a JSON member."""
        document = json.loads((self.folder / name).read_text())
        self.edit(name, **{key: {**document[key], **changes}})

    def stage(self, stage: str, **changes: object) -> None:
        """Change the plans of a stage, and what the weights say of their plans, as a forger would."""
        configurations = json.loads((self.folder / "plans.json").read_text())["configurations"]
        self.edit_in("plans.json", "configurations", **{stage: {**configurations[stage], **changes}})
        with contextlib.suppress(UserError):
            plans = load_plans(self.folder / "plans.json")
            for path in (self.folder / "fold_0").glob("*.safetensors"):
                self.edit(f"fold_0/{path.stem}.json", plans_identity=plans.identity_of(path.stem))

    def weights(self, name: str, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
        """Change the tensors of a stage."""
        tensors = load_file(self.folder / name)
        change(tensors)
        save_file(tensors, self.folder / name)

    def sign(self) -> None:
        """Make the manifest fit the members again, as a forger would."""
        files = {name: entry for name, entry in describe_files(self.folder).items() if name != "manifest.json"}
        self.edit("manifest.json", files=to_document(files))

    def pack(self) -> Path:
        pack(self.folder, self.target)
        return self.target

    def add(self, name: str | zipfile.ZipInfo, content: bytes = b"x", **how: Any) -> Path:
        """One more member behind the good ones."""
        self.pack()
        with zipfile.ZipFile(self.target, "a") as archive, pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *_, **__: None)  # of doubles
            archive.writestr(name, content, **how)
        return self.target


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def flag_as_encrypted(archive: Path) -> Path:
    content = bytearray(archive.read_bytes())
    start = content.rindex(b"PK\x01\x02")
    content[start + 8] |= 1
    archive.write_bytes(content)
    return archive


def claim_many_members(rewriter: Rewriter) -> Path:
    with zipfile.ZipFile(rewriter.target, "w") as archive:
        for number in range(10_001):
            archive.writestr(f"fold_{number}/ddpm.json", b"")
    return rewriter.target


def signed(change: Callable[[Rewriter], object]) -> Callable[[Rewriter], Path]:
    """A change that the manifest knows of."""

    def make(rewriter: Rewriter) -> Path:
        change(rewriter)
        rewriter.sign()
        return rewriter.pack()

    return make


def unsigned(change: Callable[[Rewriter], object]) -> Callable[[Rewriter], Path]:
    """A change that the manifest does not know of."""

    def make(rewriter: Rewriter) -> Path:
        change(rewriter)
        return rewriter.pack()

    return make


def written(content: Callable[[bytes], bytes]) -> Callable[[Rewriter], Path]:
    """Other bytes in place of the archive."""

    def make(rewriter: Rewriter) -> Path:
        rewriter.target.write_bytes(content(rewriter.pack().read_bytes()))
        return rewriter.target

    return make


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def spoil(tensors: dict[str, torch.Tensor]) -> None:
    name = next(name for name, value in tensors.items() if value.is_floating_point())
    tensors[name].view(-1)[0] = float("nan")


def raw_weights(rewriter: Rewriter, content: bytes) -> None:
    (rewriter.folder / "fold_0" / "ddpm.safetensors").write_bytes(content)


WEIGHTS = "fold_0/ddpm.safetensors"
FAULTS: dict[str, tuple[str, Callable[[Rewriter], Path]]] = {
    "a name that climbs": ("MODEL-MEMBER", lambda r: r.add("../../evil.json")),
    "a name that climbs from a fold": ("MODEL-MEMBER", lambda r: r.add("fold_0/../../evil.json")),
    "an absolute name": ("MODEL-MEMBER", lambda r: r.add("/etc/evil.json")),
    "a drive": ("MODEL-MEMBER", lambda r: r.add("C:\\evil.json")),
    "a backslash": ("MODEL-MEMBER", lambda r: r.add("fold_0\\ddpm.json")),
    "a name with a hidden end": ("MODEL-MEMBER", lambda r: r.add("plans.json\0.exe")),
    "a link": ("MODEL-MEMBER", lambda r: r.add(link("fold_7/ddpm.json"), b"/etc/passwd")),
    "a folder": ("MODEL-MEMBER", lambda r: r.add("fold_7/", b"")),
    "a double": ("MODEL-MEMBER", lambda r: r.add("plans.json")),
    "another case of letters": ("MODEL-MEMBER", lambda r: r.add("Plans.json")),
    "a pickle": ("MODEL-MEMBER", lambda r: r.add("fold_0/checkpoint_final.pth")),
    "a member too many": ("MODEL-MEMBER", lambda r: r.add("fold_7/ddpm.json")),
    "a member too few": ("MODEL-MEMBER", unsigned(lambda r: (r.folder / "plans.json").unlink())),
    "no manifest": ("MODEL-MEMBER", unsigned(lambda r: (r.folder / "manifest.json").unlink())),
    "a bomb": (
        "MODEL-ZIP",
        lambda r: r.add("fold_7/ddpm.safetensors", b"\0" * 10_000_000, compress_type=zipfile.ZIP_DEFLATED),
    ),
    "an unusual compression": ("MODEL-ZIP", lambda r: r.add("fold_7/ddpm.json", compress_type=zipfile.ZIP_LZMA)),
    "too many members": ("MODEL-ZIP", claim_many_members),
    "encryption": ("MODEL-ZIP", lambda r: flag_as_encrypted(r.pack())),
    "half a file": ("MODEL-ZIP", written(lambda content: content[: len(content) // 2])),
    "a text": ("MODEL-ZIP", written(lambda content: b"no zip")),
    "nothing": ("MODEL-ZIP", written(lambda content: b"")),
    "a flipped bit": ("MODEL-ZIP", written(flipped)),
    "other plans": ("MODEL-HASH", unsigned(lambda r: r.edit("plans.json", preset="paper"))),
    "other weights": ("MODEL-HASH", unsigned(lambda r: r.weights(WEIGHTS, lambda t: next(iter(t.values())).add_(1)))),
    "a newer format": ("MODEL-VERSION", unsigned(lambda r: r.edit("manifest.json", format_version=2, news=1))),
    "another format": ("MODEL-VERSION", unsigned(lambda r: r.edit("manifest.json", format="nnunet"))),
    "a manifest with unknown keys": ("MODEL-CONTENT", unsigned(lambda r: r.edit("manifest.json", run="os.system"))),
    "a manifest that is a list": (
        "MODEL-CONTENT",
        unsigned(lambda r: (r.folder / "manifest.json").write_text("[1]")),
    ),
    "a manifest that is no JSON": (
        "MODEL-CONTENT",
        unsigned(lambda r: (r.folder / "manifest.json").write_text("{")),
    ),
    "plans that climb": (
        "MODEL-CONTENT",
        signed(
            lambda r: [
                r.edit(n, **{k: "../../x"}) for n, k in (("plans.json", "dataset_name"), ("manifest.json", "dataset"))
            ]
        ),
    ),
    "a dataset that is a command": (
        "MODEL-CONTENT",
        signed(
            lambda r: [
                r.edit(n, **{k: "Dataset501_a; touch evil"})
                for n, k in (("plans.json", "dataset_name"), ("manifest.json", "dataset"))
            ]
        ),
    ),
    "a dataset of another direction of writing": (
        "MODEL-CONTENT",
        signed(
            lambda r: [
                r.edit(n, **{k: "Dataset501_a\u202eb"})
                for n, k in (("plans.json", "dataset_name"), ("manifest.json", "dataset"))
            ]
        ),
    ),
    "plans without organs": ("MODEL-CONTENT", signed(lambda r: r.edit("plans.json", organs=[]))),
    "plans of an organ that climbs": ("MODEL-CONTENT", signed(lambda r: r.edit("plans.json", organs=["../../x"]))),
    "plans of an organ twice": ("MODEL-CONTENT", signed(lambda r: r.edit("plans.json", organs=["kidney", "kidney"]))),
    "networks without channels": ("MODEL-CONTENT", signed(lambda r: r.stage("ddpm", widths=[0, 0]))),
    "networks of endless blocks": ("MODEL-CONTENT", signed(lambda r: r.stage("ddpm", blocks_per_level=10**7))),
    "networks of vast widths": ("MODEL-CONTENT", signed(lambda r: r.stage("classifier", widths=[4096] * 8))),
    "networks that the weights do not fill": ("MODEL-CONTENT", signed(lambda r: r.stage("vqgan", num_codes=2**19))),
    "samples without end": ("MODEL-CONTENT", signed(lambda r: r.edit_in("plans.json", "inference", num_samples=10**9))),
    "noise levels without end": (
        "MODEL-CONTENT",
        signed(lambda r: r.edit_in("plans.json", "inference", extra_sigmas=[0.5] * 10**5)),
    ),
    "patches without end": (
        "MODEL-CONTENT",
        signed(lambda r: r.edit_in("plans.json", "preprocessing", patch_size=[4000] * 3)),
    ),
    "an ending that is a tag": ("MODEL-CONTENT", signed(lambda r: r.edit("dataset.json", file_ending=".<img>"))),
    "an ending that climbs": ("MODEL-CONTENT", signed(lambda r: r.edit("dataset.json", file_ending="./../../x"))),
    "a channel that steers the terminal": (
        "MODEL-CONTENT",
        signed(lambda r: r.edit("dataset.json", channel_names={"0": "CT\x1b[2J"})),
    ),
    "facts of other types": ("MODEL-CONTENT", signed(lambda r: r.edit("fold_0/ddpm.json", validation=[1]))),
    "a number that is none": (
        "MODEL-CONTENT",
        signed(lambda r: (r.folder / "fold_0" / "ddpm.json").write_text('{"iteration": 1e999}')),
    ),
    "plans of another model": ("MODEL-CONTENT", signed(lambda r: r.edit("plans.json", plans_name="other"))),
    "a fold that climbs": ("MODEL-CONTENT", signed(lambda r: r.edit("manifest.json", folds=["../x"]))),
    "no fold": ("MODEL-CONTENT", signed(lambda r: r.edit("manifest.json", folds=[]))),
    "a fold that is not there": ("MODEL-CONTENT", signed(lambda r: r.edit("manifest.json", folds=["5"]))),
    "weights that are not finite": ("MODEL-CONTENT", signed(lambda r: r.weights(WEIGHTS, spoil))),
    "weights of another network": ("MODEL-CONTENT", signed(lambda r: r.weights(WEIGHTS, lambda t: t.popitem()))),
    "weights with a vast header": ("MODEL-CONTENT", signed(lambda r: raw_weights(r, struct.pack("<Q", 1 << 60)))),
    "weights that are a text": ("MODEL-CONTENT", signed(lambda r: raw_weights(r, b"no weights"))),
    "facts that name a class": ("MODEL-CONTENT", signed(lambda r: r.edit("fold_0/ddpm.json", network="os.system"))),
    "weights of other plans": ("MODEL-CONTENT", signed(lambda r: r.edit("fold_0/ddpm.json", plans_identity="0" * 64))),
    "a calibration without a threshold": (
        "MODEL-CONTENT",
        signed(lambda r: (r.folder / "fold_0" / "calibration.json").write_text("{}")),
    ),
    "a scaling that is none": (
        "MODEL-CONTENT",
        signed(lambda r: (r.folder / "fold_0" / "latent_scaling.json").write_text('{"values": 1}')),
    ),
    "a description without organs": ("MODEL-CONTENT", signed(lambda r: r.edit("dataset.json", nnanomaly={}))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_archive_is_refused_in_one_line_and_nothing_is_installed(
    fault: str, exported: SimpleNamespace, paths: Paths, tmp_path: Path
) -> None:
    code, make = FAULTS[fault]
    (tmp_path / "stranger").mkdir()
    archive = make(Rewriter(exported.archive, tmp_path / "stranger"))
    with pytest.raises(IntegrityError, match=rf"^\[NNA-{code}\] .*changed\.zip") as raised:
        install(paths, archive)
    assert "\n" not in str(raised.value)
    assert str(paths.results_folder()) not in str(raised.value).replace(str(archive), "")
    assert list(paths.results_folder().iterdir()) == []
    assert not list(tmp_path.rglob("*evil*"))


def test_weights_of_another_network_are_refused_before_it_is_built(
    exported: SimpleNamespace, paths: Paths, tmp_path: Path
) -> None:
    (tmp_path / "stranger").mkdir()
    rewriter = Rewriter(exported.archive, tmp_path / "stranger")
    rewriter.stage("vqgan", num_codes=2**19)
    rewriter.sign()
    with pytest.raises(IntegrityError, match="CKPT-WEIGHTS.*has the shape"):
        install(paths, rewriter.pack())


def test_whatever_byte_changes_the_archive_is_taken_whole_or_refused(exported: SimpleNamespace, tmp_path: Path) -> None:
    good, generator = exported.archive.read_bytes(), np.random.default_rng(0)
    expected = unpack(exported.archive, tmp_path / "good", max_bytes=1e9)
    directory = good.rindex(b"PK\x01\x02") - 2000  # where most of the bytes lie that a reader acts on
    places = [*generator.integers(0, len(good), 40), *generator.integers(directory, len(good), 160)]
    refused = 0
    for number, place in enumerate(places):
        changed = bytearray(good)
        changed[place] = generator.integers(0, 256)
        (tmp_path / "changed.zip").write_bytes(changed)
        try:
            assert unpack(tmp_path / "changed.zip", tmp_path / str(number), max_bytes=1e9) == expected
        except IntegrityError:
            refused += 1
    assert refused > 100


def test_an_archive_larger_than_allowed_is_refused_with_the_flag_that_allows_it(
    exported: SimpleNamespace, paths: Paths
) -> None:
    with pytest.raises(IntegrityError, match=r"MODEL-ZIP.*-max_size"):
        install(paths, exported.archive, max_gb=1e-6)


def test_a_path_that_is_no_file_is_a_wrong_argument(paths: Paths, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="CFG-INPUT"):
        install(paths, tmp_path)


def test_results_are_needed(exported: SimpleNamespace, paths: Paths) -> None:
    with pytest.raises(ConfigurationError, match="CFG-ENV"):
        install(replace(paths, results_root=None), exported.archive)


def test_a_stage_that_cannot_be_moved_leaves_the_old_model_whole(
    exported: SimpleNamespace, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(paths, exported.archive)
    before = contents(paths)
    rename = replacement._rename

    def refuse(source: Path, target: Path) -> None:
        if source.name.endswith("__vqgan"):
            raise PermissionError(13, "Permission denied", str(source))
        rename(source, target)

    monkeypatch.setattr(replacement, "_rename", refuse)
    with pytest.raises(EnvironmentFault, match="ENV-REPLACE.*as it was"):
        install(paths, exported.archive, overwrite=True)
    assert contents(paths) == before


@pytest.mark.parametrize("count", range(1, 9))
def test_an_installation_that_is_killed_while_it_renames_is_finished_by_whoever_predicts_next(
    exported: SimpleNamespace, paths: Paths, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    install(paths, exported.archive)
    before, left, rename = contents(paths), [count], replacement._rename

    class Killed(BaseException):
        pass

    def kill(source: Path, target: Path) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        rename(source, target)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(replacement, "_rename", kill)
        install(paths, exported.archive, overwrite=True)
    assert predict(paths).mask.any()
    install(paths, exported.archive, overwrite=True)  # takes away what lies around
    assert contents(paths) == before


def test_who_comes_second_without_force_is_told_that_the_model_is_there(
    exported: SimpleNamespace, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = install_api._build_fold

    def another_is_faster(*arguments: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(install_api, "_build_fold", build)
            patch.setattr(install_api, "temporary_folder", lambda path: temporary_folder(path.with_name("other")))
            if not paths.model(DATASET, PLANS_NAME, "ddpm").exists():
                install(paths, exported.archive)
        build(*arguments)

    monkeypatch.setattr(install_api, "_build_fold", another_is_faster)
    with pytest.raises(ConfigurationError, match="exists already"):
        install(paths, exported.archive)
    assert predict(paths).mask.any()


def test_what_a_killed_installation_left_is_taken_away_by_the_next(exported: SimpleNamespace, paths: Paths) -> None:
    left = paths.results_folder() / temporary_name(Path("install")).name.replace(str(os.getpid()), "999999999")
    (left / "results").mkdir(parents=True)
    install(paths, exported.archive)
    assert [path.name for path in paths.results_folder().iterdir()] == [DATASET]


def test_a_full_disk_leaves_the_old_model_and_one_line_without_foreign_advice(
    exported: SimpleNamespace, paths: Paths
) -> None:
    install(paths, exported.archive)
    before, limits = contents(paths), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(EnvironmentFault, match="MODEL-WRITE") as full:
            install(paths, exported.archive, overwrite=True)
        with pytest.raises(EnvironmentFault, match="MODEL-WRITE"):
            export_model(exported.paths, DATASET, paths.results_folder() / "m.zip", exported.options())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "--c" not in str(full.value)
    assert "Nothing was installed" in str(full.value)
    assert contents(paths) == before


def contents(paths: Paths) -> dict[str, bytes]:
    root = paths.results_folder()
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
