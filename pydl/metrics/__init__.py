"""How good answers are, counted on whole arrays: of classes, of masks, and of boxes."""

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
from pydl.metrics.detection import CocoAP, VocAP, average_precision, coco_ap, voc_ap

__all__ = [
    "CocoAP",
    "PrecisionRecall",
    "VocAP",
    "accuracy",
    "average_precision",
    "coco_ap",
    "confusion_matrix",
    "iou",
    "mean_iou",
    "precision_recall_f1",
    "topk_accuracy",
    "topk_error",
    "voc_ap",
]
