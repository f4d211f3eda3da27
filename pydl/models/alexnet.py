"""AlexNet, in one tower."""

from __future__ import annotations

from pydl import nn, ops
from pydl.autograd import Tensor


class AlexNet(nn.Module):
    """Five convolutions and three fully connected layers; see :func:`alexnet`.

    Args:
        num_classes: How many scores come out.
        dropout: The probability of the two dropouts, 0 to 1.
        in_channels: How many channels an image has.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5, *, in_channels: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (N, classes) of images (N, C, H, W), H and W at least 63."""
        return self.classifier(ops.flatten(self.avgpool(self.features(x)), 1))


def alexnet(num_classes: int = 1000, dropout: float = 0.5, *, in_channels: int = 3) -> AlexNet:
    """Return AlexNet as torchvision has it: one tower with 64 to 384 channels, without local response normalisation.

    The network of 2012 has two towers of 48 to 192 channels, which meet in its third convolution and at the end.

    Args:
        num_classes: How many scores come out.
        dropout: The probability of the two dropouts before fully connected layers, 0 to 1.
        in_channels: How many channels an image has; it is at least 63 pixels high and wide.

    Reference:
        Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014 (one tower);
        Krizhevsky, Sutskever, Hinton, ImageNet classification with deep convolutional neural networks, NIPS 2012.

    Example:
        >>> import pydl
        >>> alexnet(num_classes=10).eval()(pydl.zeros(1, 3, 63, 63)).shape
        pydl.Size([1, 10])
    """
    return AlexNet(num_classes, dropout, in_channels=in_channels)
