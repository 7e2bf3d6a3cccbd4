"""Which device is chosen on machines with and without accelerators."""

import pytest
import torch

from nnanomaly.device import choose_device
from nnanomaly.utilities.errors import ConfigurationError


@pytest.fixture(params=[0, 2], ids=["no_gpu", "two_gpus"])
def num_gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return int(request.param)


def test_by_default_a_gpu_is_used_where_there_is_one(num_gpus: int) -> None:
    assert choose_device(None) == torch.device("cuda" if num_gpus else "cpu")


def test_the_cpu_is_always_there(num_gpus: int) -> None:
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("name", "index"), [("cuda", 0), ("cuda:1", 1), ("cuda:2", 2)])
def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(num_gpus: int, name: str, index: int) -> None:
    if index < num_gpus:
        assert choose_device(name) == torch.device("cuda", index)
        return
    with pytest.raises(ConfigurationError) as refused:
        choose_device(name)
    assert refused.value.code == "CFG-DEVICE"
    assert repr(name) in str(refused.value)
    assert str(refused.value).endswith("cpu" if num_gpus == 0 else "cpu, cuda:0, cuda:1")


@pytest.mark.parametrize("name", ["mps", "gpu", "", "cuda:-1"])
def test_unknown_names_are_refused(num_gpus: int, name: str) -> None:
    with pytest.raises(ConfigurationError, match="CFG-DEVICE"):
        choose_device(name)
