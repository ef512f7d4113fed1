"""Backbones that torchvision builds, each with the head of this project. No weights are fetched here."""

from torch import nn

from vision.architectures.classifier import Classifier


def hidden_layer_head(features: int, num_classes: int) -> nn.Sequential:
    """Global average pooling → 256 → ReLU → dropout 0.5 → classes: (N, features, h, w) → (N, num_classes)."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, num_classes)
    )


def mobilenet_v2(num_classes: int) -> Classifier:
    """MobileNetV2 (https://arxiv.org/abs/1801.04381): (N, 3, 224, 224) → (N, num_classes); 19 blocks, 1,280 features.

    Its head has 329,221 parameters at 5 classes.
    """
    from torchvision import models  # takes 2 s to import, and only this family of networks needs it

    return Classifier(models.mobilenet_v2(weights=None).features, hidden_layer_head(1280, num_classes))
