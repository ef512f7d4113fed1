"""LeNet-5, as LeCun et al. describe it: Gradient-based learning applied to document recognition, 1998, section II.B.

With the two usual simplifications: the second convolution sees all six maps, and the last layer is linear.
"""

from torch import nn

from vision.architectures.classifier import Classifier


def lenet5(num_classes: int) -> Classifier:
    """(N, 1, 32, 32) → (N, num_classes); 61,706 parameters at 10 classes."""
    backbone = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2)),  # (N, 6, 14, 14)
        nn.Sequential(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)),  # (N, 16, 5, 5)
        nn.Flatten(),
    )
    head = nn.Sequential(
        nn.Linear(16 * 5 * 5, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, num_classes)
    )
    return Classifier(backbone, head)
