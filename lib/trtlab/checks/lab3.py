"""Checks of lab 3: the calibration dataset.

The calibrator is judged in lab3_calibrator.py; the engine, its speed and its size, in
lab3_engine.py.
"""

from typing import Literal

from trtlab.checks import lab3_calibrator as lab3_calibrator  # registers task 3.2
from trtlab.checks import lab3_engine as lab3_engine  # registers tasks 3.3 to 3.5
from trtlab.checks.evidence import Evidence
from trtlab.checks.findings import expect
from trtlab.checks.misconceptions import misconception
from trtlab.checks.registry import check
from trtlab.checks.verdict import Finding
from trtlab.thresholds import THRESHOLDS

NOT_NORMALISED = misconception(
    "calibration-not-normalised",
    "Calibrating on other values than inference feeds",
    "The network was trained on normalised inputs, and inference normalises. Calibrate on anything "
    "else and every activation has another range than the one you measure: the ranges that INT8 "
    "gets are exact, for inputs that never come.",
)
CHANNELS_SWAPPED = misconception(
    "calibration-bgr",
    "Channels in BGR order",
    "The model expects red, green, blue; OpenCV reads blue, green, red. No shape and hardly a "
    "statistic gives it away, and the network sees orange skies.",
)
OTHER_RESIZE = misconception(
    "calibration-other-resize",
    "Another resize or crop than the model's",
    "You resize and crop differently from how the model's inputs are made. The values look "
    "plausible, but edges and textures have another scale, and so have the activations.",
)
ONE_CLASS = misconception(
    "calibration-one-class",
    "Taking the first files of a sorted folder",
    "In a class-per-folder directory, sorted paths come class by class: the first thousand may "
    "show one class only. Layers that answer to the others never show their range.",
)
VALIDATION_IMAGES = misconception(
    "calibration-on-validation",
    "Calibrating on validation images",
    "The images that measure accuracy must not have shaped the engine. If its ranges were chosen "
    "on them, the accuracy that you report is better than what new images will get.",
)

Recognised = Literal["model", "pixels", "unit", "bgr", "resize", "unknown"]
"""What the values of a dataset turned out to be: the model's preprocessing; raw 0 to 255; 0 to 1
without normalisation; the model's with channels swapped, or another resize; none of these."""

_VALUES: dict[Recognised, tuple[str, str, str | None]] = {
    # measured, next step, misconception
    "pixels": (
        "pixels from 0 to 255",
        "Divide by 255 and normalise with mean and standard deviation, as the table above says.",
        NOT_NORMALISED,
    ),
    "unit": (
        "values from 0 to 1, not normalised",
        "Subtract the mean and divide by the standard deviation of each channel.",
        NOT_NORMALISED,
    ),
    "bgr": (
        "the model's values with red and blue swapped",
        "Decode with PIL and convert('RGB').",
        CHANNELS_SWAPPED,
    ),
    "resize": (
        "the model's normalisation after another resize or crop",
        "Compare with the table above: an image of 224x224 keeps its pixels, and the shorter side "
        "of any other goes to 256 before the crop.",
        OTHER_RESIZE,
    ),
    "unknown": (
        "other values",
        "Call the model's own preprocessing, or follow the table above step by step.",
        NOT_NORMALISED,
    ),
}


class DatasetEvidence(Evidence):
    """A CalibrationDataset over a fresh folder of images, and the images it will be used on.

    Attributes:
        images: images in the fresh folder, beside files of other kinds.
        limit: the num_samples of a second dataset over it.
        lengths: len() of the first dataset, and of the limited one.
        item: "float32 (3, 224, 224)", or what an item is instead.
        expected_item: what it should be.
        recognised: see Recognised.
        low, high: the smallest and largest value of the items.
        classes: folders; limited_classes: of them, how many the limited dataset shows.
        repeatable: a second dataset of the same arguments gives the same items.
        written: images in the notebook's own calibration folder.
        from_validation: how many images of the validation set are among them.
    """

    images: int = 0
    limit: int = 0
    lengths: tuple[int, int] = (0, 0)
    item: str = ""
    expected_item: str = ""
    recognised: Recognised = "unknown"
    low: float = 0
    high: float = 0
    classes: int = 0
    limited_classes: int = 0
    repeatable: bool = False
    written: int = 0
    from_validation: int = 0


@check("3.1")
def calibration_dataset(evidence: DatasetEvidence) -> list[Finding]:
    """Judge length, type, values, mixture and source of the calibration images."""
    right_item = evidence.item == evidence.expected_item
    return [
        expect(
            "all images of the folder, at most num_samples",
            evidence.lengths == (evidence.images, evidence.limit),
            0.5,
            measured=f"{evidence.lengths[0]} of a folder of {evidence.images}, "
            f"{evidence.lengths[1]} with num_samples={evidence.limit}",
            required=f"{evidence.images} and {evidence.limit}",
            next_step="Collect the image files of the folder and its class folders, and nothing "
            "else; then keep at most num_samples.",
        ),
        expect(
            "an item is one preprocessed image",
            right_item,
            0.5,
            measured=evidence.item,
            required=evidence.expected_item,
            next_step="Return the image alone, without a label or a batch dimension, as float32 "
            "with the channels first.",
        ),
        _values(evidence, right_item),
        expect(
            "a limit mixes the classes, the same way every time",
            evidence.repeatable and 2 * evidence.limited_classes >= evidence.classes,
            0.5,
            measured=f"{evidence.limited_classes} of {evidence.classes} classes in "
            f"{evidence.lengths[1]} images, "
            + ("repeatable" if evidence.repeatable else "different on every construction"),
            required=f"at least {-(-evidence.classes // 2)} of {evidence.classes} classes, "
            "repeatable",
            next_step="Draw the files at random with a fixed seed: random.Random(0)."
            if evidence.repeatable
            else "Fix the seed, and use no random augmentation: the same data must give the same "
            "engine.",
            misconception=ONE_CLASS if evidence.repeatable else None,
        ),
        _source(evidence),
    ]


def _values(evidence: DatasetEvidence, right_item: bool) -> Finding:
    measured, next_step, key = _VALUES.get(evidence.recognised, ("the same", "", None))
    if not right_item:
        measured, next_step, key = "not comparable", "First make the item right.", None
    return expect(
        "the values are those of the model's preprocessing",
        right_item and evidence.recognised == "model",
        1,
        measured=f"{measured}; {evidence.low:.3g} to {evidence.high:.3g}",
        required="what inference feeds the network",
        next_step=next_step,
        misconception=key,
    )


def _source(evidence: DatasetEvidence) -> Finding:
    least = THRESHOLDS.min_calibration_images
    enough = evidence.written >= least
    return expect(
        "enough images, none of them for validation",
        enough and evidence.from_validation == 0,
        0.5,
        measured=f"{evidence.written} images, {evidence.from_validation} of them seen in the "
        "validation set",
        required=f"at least {least}, none from validation",
        next_step="Take them from a split that accuracy is not measured on."
        if enough
        else "Complete write_calibration_images, and run the cell that calls it.",
        misconception=VALIDATION_IMAGES if evidence.from_validation else None,
    )
