"""How a wheel is made: setuptools loads this, nothing else does."""

from __future__ import annotations

from setuptools.command.build_py import build_py

FIGURES = "dynlab.figures"


class WithFigures(build_py):
    """Takes the package `dynlab.figures` from the folder figures, which stands beside dynlab in the source."""

    packages: list[str]

    def finalize_options(self) -> None:
        """The packages that setuptools finds, and the figures, which it cannot find where they stand."""
        super().finalize_options()
        self.packages = [*self.packages, FIGURES]

    def get_package_dir(self, package: str) -> str:
        """The folder of a package in the source."""
        return "figures" if package == FIGURES else super().get_package_dir(package)
