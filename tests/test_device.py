"""Which device is chosen on machines with and without accelerators."""

import pytest
import torch

from nnanomaly.device import choose_device, memory_fault
from nnanomaly.utilities.errors import ConfigurationError, EnvironmentFault


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


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation"),
        RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: 8 bytes"),
        MemoryError("Unable to allocate 8.00 GiB for an array"),
        MemoryError(),
    ],
    ids=lambda error: str(error)[:20] or "empty",
)
def test_a_lack_of_memory_is_one_line_that_ends_with_the_remedy(error: Exception) -> None:
    @memory_fault("Buy more.")
    def train() -> None:
        raise error

    with pytest.raises(EnvironmentFault) as refused:
        train()
    assert (refused.value.code, refused.value.exit_code) == ("ENV-MEMORY", 5)
    assert str(refused.value).endswith(" Buy more.")
    assert "\n" not in str(refused.value)
    assert str(error).partition("\n")[0] in str(refused.value)


def test_what_the_cpu_really_says_when_memory_is_short_is_recognised() -> None:
    with pytest.raises(EnvironmentFault, match="ENV-MEMORY"), memory_fault("Buy more."):
        torch.empty(2**60, dtype=torch.uint8)


def test_other_errors_and_results_pass() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"), memory_fault("Buy more."):
        torch.zeros(2, 3) @ torch.zeros(2, 3)
    assert memory_fault("Buy more.")(lambda: 7)() == 7
