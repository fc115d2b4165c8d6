"""Settings of every test process."""

from __future__ import annotations

import os

# Several test processes share the cores: with more than one thread each they would slow each other down many times.
os.environ.setdefault("OMP_NUM_THREADS", "1")
