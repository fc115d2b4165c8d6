"""Data sets: downloaded or imported, decoded once, mapped into memory; and their generated stand-ins.

Who holds which samples is decided elsewhere.
"""

from bench.data.dataset import Dataset, Split
from bench.data.sources import SOURCES, available, fetch, import_own, import_path, load, verify

__all__ = ["SOURCES", "Dataset", "Split", "available", "fetch", "import_own", "import_path", "load", "verify"]
