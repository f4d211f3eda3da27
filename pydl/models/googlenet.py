"""GoogLeNet: modules whose branches look through windows of several sizes."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydl import nn, ops
from pydl.autograd import Tensor
from pydl.nn import init

# For each module the channels of its input, then those of its branches: 1 x 1; 3 x 3, reduced and itself; the second
# 3 x 3, likewise; after the pooling.
_MODULES = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


class GoogLeNetOutputs(NamedTuple):
    """What GoogLeNet returns in training: its scores, and those of the two auxiliary heads, the later one first."""

    logits: Tensor
    aux_logits2: Tensor | None
    aux_logits1: Tensor | None


class BasicConv2d(nn.Module):
    """A convolution without bias, batch norm and ReLU; arguments as for :class:`pydl.nn.Conv2d`."""

    def __init__(self, in_channels: int, out_channels: int, **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **options)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Return max(0, the normalised result of the convolution)."""
        return self.bn(self.conv(x), relu=True)


class Inception(nn.Module):
    """Four branches side by side, their channels one after another.

    Args:
        in_channels: Of the input.
        ch1x1: Of the first branch, a 1 x 1 convolution.
        ch3x3red: Of the second branch, between a 1 x 1 and a 3 x 3 convolution,
        ch3x3: and at its end.
        ch5x5red: Of the third branch, between a 1 x 1 and a second 3 x 3 convolution (5 x 5 in the paper),
        ch5x5: and at its end.
        pool_proj: Of the fourth branch, 3 x 3 max-pooling and a 1 x 1 convolution.
    """

    def __init__(
        self, in_channels: int, ch1x1: int, ch3x3red: int, ch3x3: int, ch5x5red: int, ch5x5: int, pool_proj: int
    ) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(in_channels, ch1x1, kernel_size=1)
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, ch3x3red, kernel_size=1),
            BasicConv2d(ch3x3red, ch3x3, kernel_size=3, padding=1),
        )
        self.branch3 = nn.Sequential(
            BasicConv2d(in_channels, ch5x5red, kernel_size=1),
            BasicConv2d(ch5x5red, ch5x5, kernel_size=3, padding=1),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, 1, 1, ceil_mode=True),
            BasicConv2d(in_channels, pool_proj, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the branches' results, one after another along the channels."""
        return ops.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(nn.Module):
    """An auxiliary head: means over 4 x 4 windows, a 1 x 1 convolution, two fully connected layers.

    Args:
        in_channels: Of the input.
        num_classes: How many scores come out.
        dropout: The probability, 0 to 1.
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float = 0.7) -> None:
        super().__init__()
        self.conv = BasicConv2d(in_channels, 128, kernel_size=1)
        self.fc1, self.fc2 = nn.Linear(2048, 1024), nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        x = self.conv(ops.adaptive_avg_pool2d(x, (4, 4)))
        return self.fc2(self.dropout(self.fc1(ops.flatten(x, 1), relu=True)))


class GoogLeNet(nn.Module):
    """Nine Inception modules; see :func:`googlenet`.

    Args:
        num_classes: How many scores come out.
        aux_logits: Whether there are auxiliary heads.
        transform_input: Take images normalised with ImageNet's means and deviations to a mean and deviation of 0.5.
        dropout: The probability before the last layer, 0 to 1.
        dropout_aux: The probability in the auxiliary heads, 0 to 1.
        in_channels: How many channels an image has.

    Raises:
        ValueError: `transform_input` is set and images do not have three channels.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        dropout: float = 0.2,
        dropout_aux: float = 0.7,
        *,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if transform_input and in_channels != 3:
            raise ValueError(f"GoogLeNet: transform_input needs images of 3 channels, got in_channels={in_channels}")
        self.aux_logits, self.transform_input = aux_logits, transform_input
        self.conv1 = BasicConv2d(in_channels, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, kernel_size=1)
        self.conv3 = BasicConv2d(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        for name, channels in _MODULES.items():
            self.add_module(f"inception{name}", Inception(*channels))
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.maxpool4 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.aux1 = InceptionAux(512, num_classes, dropout_aux) if aux_logits else None
        self.aux2 = InceptionAux(528, num_classes, dropout_aux) if aux_logits else None
        self.avgpool, self.dropout = nn.AdaptiveAvgPool2d((1, 1)), nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                init.trunc_normal_(module.weight, 0.0, 0.01, -2, 2)

    def forward(self, x: Tensor) -> Any:
        """Return the scores (N, classes) of images (N, C, H, W), H and W at least 15.

        In training, with auxiliary heads, that is a :class:`GoogLeNetOutputs`.
        """
        if self.transform_input:
            x = _transformed(x)
        heads = self.training and self.aux1 is not None
        x = self.conv3(self.conv2(self.maxpool1(self.conv1(x))))
        x = self.inception3b(self.inception3a(self.maxpool2(x)))
        x = self.inception4a(self.maxpool3(x))
        first = self.aux1(x) if heads and self.aux1 is not None else None
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        second = self.aux2(x) if heads and self.aux2 is not None else None
        x = self.inception5a(self.maxpool4(self.inception4e(x)))
        x = self.avgpool(self.inception5b(x))
        scores = self.fc(self.dropout(ops.flatten(x, 1)))
        return GoogLeNetOutputs(scores, second, first) if heads else scores


def _transformed(x: Tensor) -> Tensor:
    """Return images normalised with ImageNet's means and deviations as if with 0.5 for all of them."""
    means, deviations = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return ops.cat([x[:, c : c + 1] * (deviations[c] / 0.5) + (means[c] - 0.5) / 0.5 for c in range(3)], 1)


def googlenet(
    num_classes: int = 1000,
    aux_logits: bool = True,
    transform_input: bool = False,
    dropout: float = 0.2,
    dropout_aux: float = 0.7,
    *,
    in_channels: int = 3,
) -> GoogLeNet:
    """Return GoogLeNet (Inception v1) as torchvision has it: with batch norm, and 3 x 3 where the paper has 5 x 5.

    Weights are first drawn from a normal distribution with standard deviation 0.01.

    Args:
        num_classes: How many scores come out.
        aux_logits: Add two auxiliary heads, which help training: in training mode the model then returns
            :class:`GoogLeNetOutputs`, in evaluation mode the scores alone.
        transform_input: Take images normalised with ImageNet's means and deviations (what torchvision's other weights
            expect) to a mean and deviation of 0.5 (what this network's expect).
        dropout: The probability before the last layer, 0 to 1.
        dropout_aux: The probability in the auxiliary heads, 0 to 1.
        in_channels: How many channels an image has; it is at least 15 pixels high and wide.

    Raises:
        ValueError: `transform_input` is set and images do not have three channels.

    Reference:
        Szegedy et al., Going deeper with convolutions, CVPR 2015, table 1.

    Example:
        >>> import pydl
        >>> googlenet(10, aux_logits=False).eval()(pydl.zeros(1, 3, 64, 64)).shape
        pydl.Size([1, 10])
    """
    return GoogLeNet(num_classes, aux_logits, transform_input, dropout, dropout_aux, in_channels=in_channels)
