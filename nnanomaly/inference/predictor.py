"""Prediction from Python: a model that stays loaded, and images as files or as other libraries hold them.

The steps are those of `nnanomaly_predict`, in the same order and on the same numbers. Nothing starts a process, so
that it works in a notebook and in a script without a main guard.
"""

from collections.abc import Sequence
from pathlib import Path

from threadpoolctl import threadpool_limits

from nnanomaly.checkpoint import FINAL
from nnanomaly.dataset.raw_dataset import check_case_id
from nnanomaly.device import memory_fault
from nnanomaly.inference.case_check import say_what_cannot_be_checked
from nnanomaly.inference.case_input import Image, OrganMasks, case_of, read_input
from nnanomaly.inference.case_prediction import predict_case
from nnanomaly.inference.composition import over_scan
from nnanomaly.inference.loaded_model import LoadedModel, ModelRequest, choose_dataset, load_model
from nnanomaly.inference.prediction import Prediction
from nnanomaly.paths import Paths
from nnanomaly.plans import PLANS_NAMES

__all__ = ["Prediction", "Predictor"]
REMEDY = 'End other programs on the device, or load the model with device="cpu".'


class Predictor:
    """A trained model that is loaded once and predicts case after case."""

    def __init__(self, model: LoadedModel) -> None:
        """Most users want `from_trained`."""
        self.model = model

    @classmethod
    @memory_fault(REMEDY)
    def from_trained(
        cls,
        dataset: str | int | None = None,
        *,
        folds: Sequence[str | int] | None = None,
        plans_name: str = PLANS_NAMES["default"],
        checkpoint: str = FINAL,
        device: str | None = None,
        paths: Paths | None = None,
    ) -> "Predictor":
        """Load a trained model.

        `dataset`: id or name; None = the only one that is trained. `folds`: whose maps are averaged; None = all that
        are trained and calibrated. `device`: cuda, cuda:N, mps or cpu; None = cuda where there is one. `paths`: the
        root folders; None = those of the environment variables.
        Raises the errors of `nnanomaly_predict`, which are ValueErrors.
        """
        request = ModelRequest(
            folds=None if folds is None else tuple(str(fold) for fold in folds),
            plans_name=plans_name,
            checkpoint=checkpoint,
            device=device,
        )
        roots = Paths.from_env() if paths is None else paths
        name = choose_dataset(roots, None if dataset is None else str(dataset), request)
        model = load_model(roots, name, request)
        say_what_cannot_be_checked(model.plans)
        return cls(model)

    @property
    def organs(self) -> tuple[str, ...]:
        """The organs that the model looks at; a case needs a mask of each."""
        return self.model.plans.organs

    @memory_fault(REMEDY)
    def predict(
        self,
        image: Image,
        *,
        organ_masks: OrganMasks | None = None,
        case: str | None = None,
        num_samples: int | None = None,
    ) -> Prediction:
        """Find lesions in one scan.

        `image`: a NIfTI file, a SimpleITK image, a nibabel image, or a tuple (array `[i, j, k]`, affine to RAS mm), in
        HU. `organ_masks`: for every organ one of the same (not 0 = organ), or the folder or label map of the case as it
        lies in `organMasksTs`; may be left out for a file, whose masks are then looked for beside it. `case` is
        what errors and the result call it; by default the name of the file, or "case". Noise is keyed by the voxels:
        a scan gives the same result under every name, and that of `nnanomaly_predict`. `num_samples`: samples of the
        noise that are averaged; None = as planned.
        Raises ConfigurationError (CFG-IMAGE, CFG-MASKS, CFG-SAMPLES) and DataError, with the codes of
        `nnanomaly_predict`.
        """
        name = case_of(image) if case is None else case
        check_case_id(name, Path("case"))
        with threadpool_limits(1, user_api="blas"):  # as in nnanomaly_predict: small matrices, and the same sums
            scan, masks = read_input(image, organ_masks, organs=self.organs, description=self.model.description)
            models = list(self.model.with_num_samples(num_samples).folds.values())
            result = predict_case(scan, masks, case=name, plans=self.model.plans, models=models)
        anomaly, healthy = over_scan(result.composite, scan)
        return Prediction(
            case=name,
            mask=result.mask,
            anomaly_map=anomaly,
            reconstruction=healthy,
            candidates=result.candidates,
            threshold=result.threshold,
            status=result.status,
            warnings=list(result.warnings),
            grid=scan.grid,
        )
