"""The convolutional network that courses train on CIFAR-10; small enough for a CPU."""

from torch import nn

from vision.architectures.classifier import Classifier


def cifar_cnn(num_classes: int, in_channels: int = 3) -> Classifier:
    """(N, in_channels, 32, 32) → (N, num_classes); 815,530 trainable parameters at 10 classes.

    Three blocks of two 3×3 convolutions with BatchNorm, 32, 64 and 128 filters, each ended by max pooling and dropout
    0.25; then dense 256 with BatchNorm and dropout 0.5. The L2 penalty of 1e-4 is in `training/recipes/cifar10.toml`.
    """
    blocks = [_block(inputs, filters) for inputs, filters in ((in_channels, 32), (32, 64), (64, 128))]
    head = nn.Sequential(
        nn.Linear(128 * 4 * 4, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, num_classes)
    )
    return Classifier(nn.Sequential(*blocks, nn.Flatten()), head)


def _block(inputs: int, filters: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, filters):
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Dropout(0.25))
