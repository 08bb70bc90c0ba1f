"""Packages that ask for torchvision when they are imported, and need next to nothing of it."""

import contextlib
import importlib
import sys
import types
import warnings
from collections.abc import Iterator, Mapping

import pytest


@contextlib.contextmanager
def standing_in(modules: Mapping[str, types.ModuleType], *, forget: str) -> Iterator[None]:
    """Meanwhile `modules` can be imported. Afterwards they cannot, and whatever package `forget` imported of them is forgotten.

    Everything else that was imported stays (numpy could not be imported twice).
    """
    before = {name: module for name, module in sys.modules.items() if _within(name, (*modules, forget))}
    for name in before:
        del sys.modules[name]
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if _within(name, (*modules, forget))]:
            del sys.modules[name]
        sys.modules.update(before)


def imported(name: str, modules: Mapping[str, types.ModuleType]) -> types.ModuleType:
    """The module `name`, or the end of the test if it is not installed."""
    with standing_in(modules, forget=name.partition(".")[0]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            pytest.skip(f"{name} cannot be imported: {error}")


def official_lpips(net: str, trunk: object) -> object:
    """The module of the official package over `trunk` (torchvision's `features`), with random heads."""
    torchvision = types.ModuleType("torchvision")
    network = {"alex": "alexnet", "vgg": "vgg16"}[net]
    torchvision.models = types.SimpleNamespace(**{network: lambda pretrained: types.SimpleNamespace(features=trunk)})
    with standing_in({"torchvision": torchvision}, forget="lpips"):
        package = pytest.importorskip("lpips")
        return package.LPIPS(pretrained=False, net=net, verbose=False).eval()


def _within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)
