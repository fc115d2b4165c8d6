"""Data sources: download, decode once, memory-map."""

from bench.data.dataset import Dataset, Split
from bench.data.sources import SOURCES, available, fetch, import_path, load, verify

__all__ = ["SOURCES", "Dataset", "Split", "available", "fetch", "import_path", "load", "verify"]
