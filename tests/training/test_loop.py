"""The training loop with a stage of one linear layer: resume, kill, signals, early stopping, health."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nnanomaly.checkpoint import FINAL, LATEST, PREVIOUS, load_checkpoint, save_checkpoint
from nnanomaly.plans import TrainingPlan
from nnanomaly.training.loop import fit
from nnanomaly.training.optimisation import Batch, build_optimizer, clip_and_step
from nnanomaly.utilities.errors import DataError, IntegrityError, Interrupted

EXTRA = {"plans_identity": "abc"}


class LinearStage:
    """Learns y = 2 x from noisy batches; the noise comes from the generator of the iteration."""

    monitor = "loss"

    def __init__(self, plan: TrainingPlan, *, at_iteration: dict[int, object] | None = None) -> None:
        torch.manual_seed(plan.seed)
        self.layer = nn.Linear(1, 1)
        self.plan = plan
        self.steps = 0
        self.at_iteration = at_iteration or {}
        self.optimizer = build_optimizer(self.layer.parameters(), plan, plan.learning_rate)

    def modules(self) -> dict[str, nn.Module]:
        return {"layer": self.layer}

    def averaged_module(self) -> str:
        return "layer"

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"layer": self.optimizer}

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        action = self.at_iteration.get(int(batch["iteration"]))
        if callable(action):
            action()
        noise = torch.randn(batch["x"].shape, generator=generator)
        loss = (self.layer(batch["x"] + 0.1 * noise) - 2 * batch["x"]).square().mean()
        loss.backward()
        clip_and_step(self.optimizer, 0.0)
        return {"loss": float("nan") if action == "nan" else loss.item()}

    def validate(self, batches: list[Batch], module: nn.Module, generator: torch.Generator) -> dict[str, float]:
        return {"loss": (module.weight - 2).abs().item()}

    def pictures(self, batch: Batch, module: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        return {}


def batches(start: int, stop: int) -> list[Batch]:
    generators = [torch.Generator().manual_seed(iteration) for iteration in range(start, stop)]
    return [
        {"x": torch.randn(4, 1, generator=g), "iteration": torch.tensor(start + k)} for k, g in enumerate(generators)
    ]


def settings(**changes: object) -> TrainingPlan:
    values = {"num_iterations": 20, "batch_size": 4, "learning_rate": 0.05, "ema_decay": 0.9, "validate_every": 10}
    return TrainingPlan(**{**values, "checkpoint_every": 4, "warmup_iterations": 3, "decay": "cosine", **changes})


def train(folder: Path, plan: TrainingPlan, *, resume: bool = False, **actions: object) -> LinearStage:
    stage = LinearStage(plan, at_iteration={int(key[2:]): action for key, action in actions.items()})
    validation = batches(0, 1)
    fit(stage, batches, plan=plan, run_dir=folder, validation=validation, extra=EXTRA, resume=resume)
    return stage


def final_weights(folder: Path) -> tuple[Tensor, Tensor]:
    state = load_checkpoint(folder / FINAL)
    return state["modules"]["layer"]["weight"], state["averaged_weights"]["weight"]


def test_a_run_killed_in_the_middle_and_resumed_equals_an_unbroken_one_bit_for_bit(tmp_path: Path) -> None:
    train(tmp_path / "straight", settings())
    script = f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from test_loop import settings, train
        train(Path({str(tmp_path / "killed")!r}), settings(), at11=lambda: os.kill(os.getpid(), signal.SIGKILL))
    """
    process = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / FINAL).exists()
    train(tmp_path / "killed", settings(), resume=True)
    for straight, resumed in zip(final_weights(tmp_path / "straight"), final_weights(tmp_path / "killed"), strict=True):
        assert torch.equal(straight, resumed)
    logs = [(tmp_path / name / "log.jsonl").read_text().count("validation") for name in ("straight", "killed")]
    assert logs[0] == logs[1] == 2


def test_sigterm_saves_the_state_and_the_run_continues_from_there(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as stop:
        train(tmp_path / "stopped", settings(), at6=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert stop.value.exit_code == 143
    assert load_checkpoint(tmp_path / "stopped" / LATEST)["iteration"] == 7
    train(tmp_path / "stopped", settings(), resume=True)
    train(tmp_path / "straight", settings())
    assert torch.equal(final_weights(tmp_path / "stopped")[0], final_weights(tmp_path / "straight")[0])


def test_training_learns_and_leaves_only_the_final_and_the_best_checkpoint(tmp_path: Path) -> None:
    train(tmp_path, settings(num_iterations=300, learning_rate=0.1))
    weight, average = final_weights(tmp_path)
    assert abs(float(weight) - 2) < 0.2
    assert abs(float(average) - 2) < 0.2
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["checkpoint_best.pth", "checkpoint_final.pth"]
    assert (tmp_path / "progress.png").stat().st_size > 1000


def test_a_finished_run_is_extended_by_more_iterations(tmp_path: Path) -> None:
    train(tmp_path / "longer", settings(decay="constant", warmup_iterations=0))
    train(tmp_path / "longer", settings(decay="constant", warmup_iterations=0, num_iterations=30), resume=True)
    train(tmp_path / "straight", settings(decay="constant", warmup_iterations=0, num_iterations=30))
    assert torch.equal(final_weights(tmp_path / "longer")[0], final_weights(tmp_path / "straight")[0])


def test_patience_ends_a_run_that_no_longer_gains(tmp_path: Path) -> None:
    plan = settings(num_iterations=1000, learning_rate=1e-12, validate_every=2, patience=3, warmup_iterations=0)
    train(tmp_path, plan)
    assert load_checkpoint(tmp_path / FINAL)["iteration"] == 8  # best at 2, then three validations without gain


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="NNA-TRAIN-NAN.*iteration 6"):
        train(tmp_path, settings(), at6="nan")
    assert load_checkpoint(tmp_path / LATEST)["iteration"] == 4


def test_a_damaged_latest_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(tmp_path, settings(), at10=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert (tmp_path / PREVIOUS).is_file()
    (tmp_path / LATEST).write_bytes((tmp_path / LATEST).read_bytes()[:100])
    train(tmp_path, settings(), resume=True)
    train(tmp_path / "straight", settings())
    assert torch.equal(final_weights(tmp_path)[0], final_weights(tmp_path / "straight")[0])


def test_a_checkpoint_of_other_plans_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / LATEST, {"plans_identity": "of another plan", "iteration": 3})
    with pytest.raises(IntegrityError, match="of another p,.*abc"):
        train(tmp_path, settings(), resume=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"iteration": "4"},
        {"iteration": -4},
        {"finished": 1},
        {"validation": []},
        {"modules": {}},
        {"modules": {"layer": {"weight": torch.zeros(7)}}},
        {"optimizers": {"layer": {}}},
        {"optimizers": None},
        {"num_averaged": "x"},
        {"averaged_weights": 1},
    ],
    ids=str,
)
def test_a_checkpoint_that_is_none_of_this_training_is_refused_in_one_line(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    train(tmp_path, settings())
    path = tmp_path / "checkpoint_final.pth"
    save_checkpoint(path, {**load_checkpoint(path), **changes})
    with pytest.raises(IntegrityError, match="CKPT-FIELD.*checkpoint_final.pth does not hold the state") as refused:
        train(tmp_path, settings(num_iterations=30), resume=True)
    assert "\n" not in str(refused.value)
