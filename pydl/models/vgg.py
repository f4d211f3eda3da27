"""VGG: 3 x 3 convolutions throughout."""

from __future__ import annotations

from collections.abc import Sequence

from pydl import nn, ops
from pydl.autograd import Tensor
from pydl.nn import init

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, and how many convolutions have them


class VGG(nn.Module):
    """Stages of 3 x 3 convolutions, each ended by 2 x 2 max-pooling, and three fully connected layers.

    Weights of convolutions are first drawn as by :func:`pydl.nn.init.kaiming_normal_` for ReLU, keeping the spread of
    the gradients; of fully connected layers with standard deviation 0.01; biases are 0.

    Args:
        stages: For each stage the channels, and how many convolutions it has.
        num_classes: How many scores come out.
        dropout: The probability of the two dropouts, 0 to 1.
        in_channels: How many channels an image has.
    """

    def __init__(
        self,
        stages: Sequence[tuple[int, int]] = _STAGES,
        num_classes: int = 1000,
        dropout: float = 0.5,
        *,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels, count in stages:
            for _ in range(count):
                layers += [nn.Conv2d(in_channels, channels, 3, padding=1), nn.ReLU()]
                in_channels = channels
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(in_channels * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                init.normal_(module.weight, 0, 0.01)
            else:
                continue
            assert module.bias is not None
            init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (N, classes) of images (N, C, H, W), H and W at least 32."""
        return self.classifier(ops.flatten(self.avgpool(self.features(x)), 1))


def vgg16(num_classes: int = 1000, dropout: float = 0.5, *, in_channels: int = 3) -> VGG:
    """Return VGG-16: thirteen 3 x 3 convolutions of 64 to 512 channels in five stages, three fully connected layers.

    Args:
        num_classes: How many scores come out.
        dropout: The probability of the two dropouts between fully connected layers, 0 to 1.
        in_channels: How many channels an image has; it is at least 32 pixels high and wide.

    Reference:
        Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition, 2015, table 1, D.
    """
    return VGG(_STAGES, num_classes, dropout, in_channels=in_channels)
