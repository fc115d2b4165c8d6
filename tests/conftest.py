"""Settings of every test process."""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

# Several test processes share the cores: with more than one thread each they would slow each other down many times.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell without job control lets what it starts in the background ignore Ctrl-C, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# The same examples in every run, and no limit on what one takes: neither chance nor a busy machine fails a test.
settings.register_profile("bench", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bench")
