"""What TorchServe's own image_classifier handler builds: a class without arguments, and the weights beside it."""

from torchvision.models import MobileNetV2, ResNet
from torchvision.models.resnet import Bottleneck


class MobileNet(MobileNetV2):
    """As torchvision builds mobilenet_v2."""


class ResNet50(ResNet):
    """As torchvision builds resnet50."""

    def __init__(self) -> None:
        super().__init__(Bottleneck, [3, 4, 6, 3])
