"""What pyproject.toml cannot say: an editable installation, too, installs the data files."""

from setuptools import Distribution, setup

Distribution.has_data = Distribution.has_data_files  # by this name it asks
setup()
