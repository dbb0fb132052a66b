"""The names of data sets. Listing them imports nothing that reads them."""

HUB = {
    "mnist": "ylecun/mnist",
    "fashion_mnist": "zalando-datasets/fashion_mnist",
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
}
"""Catalogue name -> repository on the Hugging Face hub."""

CATALOGUE = ("digits", *HUB)
"""Every name that ``data=NAME`` knows."""
