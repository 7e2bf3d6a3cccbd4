import numpy as np

from nnanomaly.dataset_conversion.phantom_anatomy import Patient, draw_patient
from nnanomaly.dataset_conversion.phantom_kidney import Kidney
from nnanomaly.dataset_conversion.phantom_lesions import KINDS, PLACES, Lesion, draw_lesions


def draw(seed: int, *diameters_mm: float) -> tuple[Patient, Kidney, list[Lesion]]:
    rng = np.random.default_rng(seed)
    patient = draw_patient(rng, cortex_hu=(160, 195), medulla_contrast_hu=(15, 50))
    kidney = patient.kidneys[seed % 2]
    return patient, kidney, draw_lesions(rng, patient, kidney, diameters_mm=diameters_mm)


def at(lesion: Lesion) -> np.ndarray:
    return np.asarray(lesion.shape.center_mm, np.float32).reshape(3, 1)


def test_lesions_lie_inside_across_or_outside_the_surface_as_named() -> None:
    seen = set()
    for seed in range(60):
        _, kidney, (lesion,) = draw(seed, 16.0)
        low, high = PLACES[lesion.place]
        # the lobulation (up to 3 standard deviations) and the bend move the surface a little
        slack = (3 * kidney.lobulation_mm + 2) / 8
        assert low - slack <= float(kidney.envelope_distance(at(lesion))[0]) / 8 <= high + slack
        seen.add(lesion.place)
    assert seen == set(PLACES)


def test_lesions_stay_in_the_abdomen_where_there_is_room() -> None:
    outside = [
        max(0.0, float(patient.cavity_distance(at(lesion))[0]) + 10)
        for patient, _, (lesion,) in (draw(seed, 20.0) for seed in range(60))
    ]
    assert max(outside) == 0


def test_every_kind_occurs_and_enhances_as_its_name_says() -> None:
    kinds = set()
    for seed in range(60):
        _, kidney, (lesion,) = draw(seed, 20.0)
        parenchyma = (kidney.cortex_hu + kidney.medulla_hu) / 2
        bounds = {
            "cyst": (0, 20),
            "solid": (parenchyma - 90, parenchyma - 40),
            "hyperdense": (parenchyma + 45, parenchyma + 80),
        }
        assert bounds[lesion.kind][0] <= lesion.hu <= bounds[lesion.kind][1]
        kinds.add(lesion.kind)
    assert kinds == set(KINDS)


def test_two_lesions_are_apart_and_the_larger_comes_first() -> None:
    for seed in range(30):
        _, _, lesions = draw(seed, 10.0, 24.0)
        assert [lesion.diameter_mm for lesion in lesions] == [24, 10]
        assert np.linalg.norm(np.subtract(*(lesion.shape.center_mm for lesion in lesions))) >= 17
