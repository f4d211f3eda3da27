"""MobileNets: convolutions in two steps, each channel by itself and then each pixel by itself."""

from __future__ import annotations

from pydl import nn, ops
from pydl.autograd import Tensor
from pydl.nn import init
from pydl.ops import check

_V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
"""Of each pair of steps: the channels it gives, and its stride."""
_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Of each group of blocks: how many times as wide the middle is, the channels, how many blocks, the first's stride."""


def _conv(C: int, O: int, kernel: int, stride: int = 1, groups: int = 1, *, cap: bool = True) -> nn.Sequential:
    """Return a convolution without bias, batch norm, and max(0, x), which ends at 6 with `cap`."""
    return nn.Sequential(
        nn.Conv2d(C, O, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(O),
        nn.ReLU6() if cap else nn.ReLU(),
    )


def _draw(model: nn.Module) -> None:
    """Draw the first weights as torchvision does."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            init.normal_(module.weight, 0, 0.01)
            assert module.bias is not None
            init.zeros_(module.bias)


def _rounded(channels: float) -> int:
    """Return the multiple of 8 that is nearest, at least 8 and at least nine tenths of `channels`."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


class MobileNetV1(nn.Module):
    """Thirteen depthwise 3 x 3 convolutions, each followed by a 1 x 1 one; see :func:`mobilenet_v1`.

    Args:
        num_classes: How many scores come out.
        width_mult: Factor of all channels, above 0.
        in_channels: How many channels an image has.
    """

    def __init__(self, num_classes: int = 1000, width_mult: float = 1.0, *, in_channels: int = 3) -> None:
        super().__init__()
        check.number("MobileNetV1", "width_mult", width_mult, 0.01)
        width = _rounded(32 * width_mult)
        layers = [_conv(in_channels, width, 3, 2, cap=False)]
        for channels, stride in _V1:
            wider = _rounded(channels * width_mult)
            layers += [_conv(width, width, 3, stride, width, cap=False), _conv(width, wider, 1, cap=False)]
            width = wider
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(width, num_classes)
        _draw(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (N, classes) of images (N, C, H, W)."""
        x = ops.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(ops.flatten(x, 1))


class InvertedResidual(nn.Module):
    """A block that is wide in the middle: 1 x 1, depthwise 3 x 3, 1 x 1, and the input added where shapes allow.

    Args:
        inp: Channels of the input.
        oup: Channels of the result.
        stride: Of the 3 x 3 convolution, 1 or 2.
        expand_ratio: How many times as wide as the input the middle is; 1 leaves the first convolution out.
    """

    def __init__(self, inp: int, oup: int, stride: int, expand_ratio: int) -> None:
        super().__init__()
        hidden = inp * expand_ratio
        layers: list[nn.Module] = [] if expand_ratio == 1 else [_conv(inp, hidden, 1)]
        layers += [_conv(hidden, hidden, 3, stride, hidden), nn.Conv2d(hidden, oup, 1, bias=False), nn.BatchNorm2d(oup)]
        self.conv = nn.Sequential(*layers)
        self.use_res_connect = stride == 1 and inp == oup

    def forward(self, x: Tensor) -> Tensor:
        """Return the result, with the input added where stride and channels let it."""
        y: Tensor = self.conv(x)
        return x + y if self.use_res_connect else y


class MobileNetV2(nn.Module):
    """Seventeen blocks that are wide in the middle; see :func:`mobilenet_v2`.

    Args:
        num_classes: How many scores come out.
        width_mult: Factor of all channels, above 0.
        dropout: The probability before the last layer, 0 to 1.
        in_channels: How many channels an image has.
    """

    def __init__(
        self, num_classes: int = 1000, width_mult: float = 1.0, dropout: float = 0.2, *, in_channels: int = 3
    ) -> None:
        super().__init__()
        check.number("MobileNetV2", "width_mult", width_mult, 0.01)
        width, last = _rounded(32 * width_mult), _rounded(1280 * max(1.0, width_mult))
        layers: list[nn.Module] = [_conv(in_channels, width, 3, 2)]
        for expand_ratio, channels, count, stride in _V2:
            wider = _rounded(channels * width_mult)
            for number in range(count):
                layers.append(InvertedResidual(width, wider, 1 if number else stride, expand_ratio))
                width = wider
        layers.append(_conv(width, last, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        _draw(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (N, classes) of images (N, C, H, W)."""
        x = ops.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(ops.flatten(x, 1))


def mobilenet_v1(num_classes: int = 1000, width_mult: float = 1.0, *, in_channels: int = 3) -> MobileNetV1:
    """Return MobileNet: 3 x 3 convolutions of each channel by itself, 1 x 1 convolutions across them, batch norm, ReLU.

    Args:
        num_classes: How many scores come out.
        width_mult: Factor of all channels, above 0; they are rounded to multiples of 8.
        in_channels: How many channels an image has.

    Reference:
        Howard et al., MobileNets: efficient convolutional neural networks for mobile vision applications, 2017,
        table 1. (The last depthwise convolution has stride 1, as the sizes beside it say.)

    Example:
        >>> sum(p.numel() for p in mobilenet_v1().parameters())
        4231976
    """
    return MobileNetV1(num_classes, width_mult, in_channels=in_channels)


def mobilenet_v2(
    num_classes: int = 1000, width_mult: float = 1.0, dropout: float = 0.2, *, in_channels: int = 3
) -> MobileNetV2:
    """Return MobileNet V2: blocks that widen by 1 x 1, filter each channel, and narrow again, adding their input.

    Args:
        num_classes: How many scores come out.
        width_mult: Factor of all channels, above 0; they are rounded to multiples of 8.
        dropout: The probability before the last layer, 0 to 1.
        in_channels: How many channels an image has.

    Reference:
        Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks, CVPR 2018, table 2.

    Example:
        >>> sum(p.numel() for p in mobilenet_v2().parameters())
        3504872
    """
    return MobileNetV2(num_classes, width_mult, dropout, in_channels=in_channels)
