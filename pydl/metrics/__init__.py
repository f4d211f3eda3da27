"""How good answers are, counted on whole arrays: of classes, of masks, and of boxes.

What is about boxes is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydl.metrics.classes import (
    PrecisionRecall,
    accuracy,
    confusion_matrix,
    iou,
    mean_iou,
    precision_recall_f1,
    topk_accuracy,
    topk_error,
)
from pydl.suggest import no_attribute

if TYPE_CHECKING:
    from pydl.metrics.detection import (
        CocoAP as CocoAP,
        VocAP as VocAP,
        average_precision as average_precision,
        coco_ap as coco_ap,
        voc_ap as voc_ap,
    )

__all__ = [
    "PrecisionRecall",
    "accuracy",
    "confusion_matrix",
    "iou",
    "mean_iou",
    "precision_recall_f1",
    "topk_accuracy",
    "topk_error",
]

_LATER = ("CocoAP", "VocAP", "average_precision", "coco_ap", "voc_ap")


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module("pydl.metrics.detection"), name)
    raise no_attribute("pydl.metrics", (*__all__, *_LATER), name)
