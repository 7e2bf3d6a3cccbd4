"""The oracle writer of the fixtures agrees with the convention that volume.py states; no test reaches a network."""

import socket
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest


def test_oracle_writer_puts_a_voxel_where_the_convention_says(write_nifti: Callable[..., Path], tmp_path: Path) -> None:
    array = np.zeros((4, 5, 6), np.int16)
    array[1, 2, 3] = 7
    image = nibabel.load(write_nifti(tmp_path / "a.nii.gz", array, spacing_mm=(2, 3, 4), origin_mm=(10, 20, 30)))
    index = np.argwhere(np.asarray(image.dataobj) == 7)[0]
    right, anterior, superior = nibabel.affines.apply_affine(image.affine, index)
    assert (superior, -anterior, -right) == (10 + 1 * 2, 20 + 2 * 3, 30 + 3 * 4)


@pytest.mark.parametrize(
    "reach",
    [
        lambda: socket.create_connection(("192.0.2.1", 9), timeout=0.01),
        lambda: socket.getaddrinfo("example.org", 443),
        lambda: socket.gethostbyname("example.org"),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9)),
    ],
)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_reaching_another_machine_is_refused_and_remembered(
    reach: Callable[[], object], network_attempts: list[str]
) -> None:
    with pytest.raises(AssertionError, match="must not use the network"):
        reach()
    assert network_attempts
    network_attempts.clear()


def test_this_machine_may_be_reached(network_attempts: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        assert network_attempts == []
