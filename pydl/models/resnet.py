"""ResNets: blocks whose result is added to what came in."""

from __future__ import annotations

from collections.abc import Sequence

from pydl import nn, ops
from pydl.autograd import Tensor
from pydl.nn import init


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions, and the input added to their result.

    Args:
        inplanes: Channels of the input.
        planes: Channels of the result.
        stride: Step of the first convolution.
        downsample: Brings the input to the result's shape; None where it has it.
    """

    expansion = 1

    def __init__(self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inplanes, planes, 3, stride), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = _conv(planes, planes, 3), nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Return max(0, the convolutions' result + the input)."""
        y = self.bn1(self.conv1(x), relu=True)
        y = self.bn2(self.conv2(y))
        return ops.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """A 1 x 1, a 3 x 3 and a 1 x 1 convolution, and the input added to their result.

    Args:
        inplanes: Channels of the input.
        planes: Channels in the middle; the result has four times as many.
        stride: Step of the 3 x 3 convolution (of the first 1 x 1 one in the paper; here as torchvision has it).
        downsample: Brings the input to the result's shape; None where it has it.
    """

    expansion = 4

    def __init__(self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inplanes, planes, 1), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = _conv(planes, planes, 3, stride), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = _conv(planes, 4 * planes, 1), nn.BatchNorm2d(4 * planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Return max(0, the convolutions' result + the input)."""
        y = self.bn1(self.conv1(x), relu=True)
        y = self.bn2(self.conv2(y), relu=True)
        y = self.bn3(self.conv3(y))
        return ops.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """A first convolution, stages of residual blocks, the mean over the image, one fully connected layer.

    Weights of convolutions are first drawn as by :func:`pydl.nn.init.kaiming_normal_` for ReLU, keeping the spread of
    the gradients.

    Args:
        block: BasicBlock or Bottleneck.
        layers: How many blocks each stage has; the first block of each stage but the first halves height and width.
        num_classes: How many scores come out.
        in_channels: How many channels an image has.
        widths: The blocks' `planes` in each stage.
        small_images: Begin with a 3 x 3 convolution of stride 1 instead of 7 x 7 of stride 2 and max-pooling.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        *,
        in_channels: int = 3,
        widths: Sequence[int] = (64, 128, 256, 512),
        small_images: bool = False,
    ) -> None:
        super().__init__()
        channels = widths[0]
        self.conv1 = _conv(in_channels, channels, 3) if small_images else _conv(in_channels, channels, 7, 2)
        self.bn1 = nn.BatchNorm2d(channels)
        self.maxpool = None if small_images else nn.MaxPool2d(3, 2, 1)
        self._stages = []
        for number, (planes, count) in enumerate(zip(widths, layers, strict=True), 1):
            stride = 1 if number == 1 else 2
            self.add_module(f"layer{number}", stage(block, channels, planes, count, stride))
            self._stages.append(f"layer{number}")
            channels = planes * block.expansion
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (N, classes) of images (N, C, H, W)."""
        y = self.bn1(self.conv1(x), relu=True)
        if self.maxpool is not None:
            y = self.maxpool(y)
        for name in self._stages:
            y = getattr(self, name)(y)
        return self.fc(ops.flatten(self.avgpool(y), 1))


def stage(
    block: type[BasicBlock] | type[Bottleneck], inplanes: int, planes: int, count: int, stride: int
) -> nn.Sequential:
    """Return `count` blocks, of which the first has the stride and brings its input to the new shape."""
    channels = planes * block.expansion
    downsample = None
    if stride != 1 or inplanes != channels:
        downsample = nn.Sequential(_conv(inplanes, channels, 1, stride), nn.BatchNorm2d(channels))
    later = [block(channels, planes) for _ in range(count - 1)]
    return nn.Sequential(block(inplanes, planes, stride, downsample), *later)


def _conv(C: int, O: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(C, O, kernel, stride=stride, padding=kernel // 2, bias=False)


def resnet18(num_classes: int = 1000, *, in_channels: int = 3) -> ResNet:
    """Return ResNet-18: eight blocks of two 3 x 3 convolutions.

    Args:
        num_classes: How many scores come out.
        in_channels: How many channels an image has.

    Reference:
        He, Zhang, Ren, Sun, Deep residual learning for image recognition, CVPR 2016, table 1.

    Example:
        >>> import pydl
        >>> resnet18(num_classes=10).eval()(pydl.zeros(2, 3, 64, 64)).shape
        pydl.Size([2, 10])
    """
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes, in_channels=in_channels)


def resnet34(num_classes: int = 1000, *, in_channels: int = 3) -> ResNet:
    """Return ResNet-34: sixteen blocks of two 3 x 3 convolutions; arguments and reference as for :func:`resnet18`."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes, in_channels=in_channels)


def resnet50(num_classes: int = 1000, *, in_channels: int = 3) -> ResNet:
    """Return ResNet-50: sixteen blocks of 1 x 1, 3 x 3 and 1 x 1 convolutions; arguments as for :func:`resnet18`.

    As in torchvision, a block that halves the image does so in its 3 x 3 convolution; in the paper its first one does.
    """
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels=in_channels)


def resnet20(num_classes: int = 10, *, in_channels: int = 3) -> ResNet:
    """Return the ResNet-20 for small images: nine blocks of 16, 32 and 64 channels.

    Where a stage halves the image, the input of its first block is brought to the new shape by a 1 x 1 convolution with
    batch norm (option B of the paper, 272,474 weights for 10 classes), not by slicing and zeros (option A, 269,722).

    Args:
        num_classes: How many scores come out.
        in_channels: How many channels an image has.

    Reference:
        He, Zhang, Ren, Sun, Deep residual learning for image recognition, CVPR 2016, section 4.2.

    Example:
        >>> sum(p.numel() for p in resnet20().parameters())
        272474
    """
    return ResNet(BasicBlock, (3, 3, 3), num_classes, in_channels=in_channels, widths=(16, 32, 64), small_images=True)
