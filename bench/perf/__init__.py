"""How fast the harness is, and how that grows: beside a bare PyTorch loop in the same run, against set targets.

No result of a method comes from here.

What is timed runs in processes of its own, which import this package: it imports nothing itself.
"""
