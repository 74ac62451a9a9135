"""Hybrid-Supervised Dual-Search for multi-exposure image fusion, as a small library behind a course.

``import hsds_lib as hsds`` is enough for a notebook: the names of ``__init__.pyi`` are loaded when they are first used.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
