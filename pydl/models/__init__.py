"""Models, ready to train: small ones, and the networks of the literature under torchvision's names and keys.

Each is a function that returns a Module. Where torchvision has the network, the layers have the same names and shapes,
so that a ``state_dict`` of its weights loads.
"""

from typing import TYPE_CHECKING, Any

from pydl.models.alexnet import AlexNet as AlexNet, alexnet as alexnet
from pydl.models.googlenet import GoogLeNet as GoogLeNet, GoogLeNetOutputs as GoogLeNetOutputs, googlenet as googlenet
from pydl.models.mobilenet import (
    MobileNetV1 as MobileNetV1,
    MobileNetV2 as MobileNetV2,
    mobilenet_v1 as mobilenet_v1,
    mobilenet_v2 as mobilenet_v2,
)
from pydl.models.named import MADE_FOR as MADE_FOR, MODELS as MODELS, build as build
from pydl.models.resnet import (
    ResNet as ResNet,
    resnet18 as resnet18,
    resnet20 as resnet20,
    resnet34 as resnet34,
    resnet50 as resnet50,
)
from pydl.models.small import cnn as cnn, lenet as lenet, linear as linear, mlp as mlp
from pydl.models.vgg import VGG as VGG, vgg16 as vgg16
from pydl.suggest import no_attribute as _no_attribute

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise _no_attribute("pydl.models", globals(), name)
