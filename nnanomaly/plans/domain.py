"""What planning saw in the training scans."""

from dataclasses import dataclass

from nnanomaly.plans.checks import require


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganDomain:
    """What planning saw of an organ in the training scans; prediction says what lies beside it."""

    num_organs: int
    """Training organs that were measured."""
    median_hu: tuple[float, float, float]
    """Lowest, middle and highest of their medians, in HU."""
    around_low_hu: float
    """In the 20 mm around each of them, 0.5 % of the values lie below this."""
    volume_ml: tuple[float, float]
    """Smallest and largest volume."""
    extent_mm: tuple[float, float, float]
    """Largest size (z, y, x) of their boxes."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require(self.num_organs >= 1, "domain.num_organs", self.num_organs, "must be at least 1")
        in_order = -32768 <= self.median_hu[0] <= self.median_hu[1] <= self.median_hu[2] <= 32767
        require(in_order, "domain.median_hu", self.median_hu, "must be HU in ascending order")
        require(abs(self.around_low_hu) <= 32768, "domain.around_low_hu", self.around_low_hu, "must be HU")
        low, high = self.volume_ml
        require(0 < low <= high < 1e6, "domain.volume_ml", self.volume_ml, "must be millilitres in ascending order")
        require(all(0 < s < 1e4 for s in self.extent_mm), "domain.extent_mm", self.extent_mm, "must be millimetres")
