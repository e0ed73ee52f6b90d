"""Installed as etc/ipython/ipython_config.py of the lab's environment, where IPython reads it.

It loads labutils/base/hints.py without the rest of labutils, which would load PyTorch.
"""

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

NAME = "labutils.base.hints"
package = find_spec("labutils")
if package and package.origin:
    spec = spec_from_file_location(NAME, Path(package.origin).parent / "base" / "hints.py")
    # Under its own name: when labutils imports it, it is the same module, and prints once.
    sys.modules[NAME] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])
    get_config().InteractiveShellApp.extensions.append(NAME)  # noqa: F821
