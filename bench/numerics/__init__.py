"""What this machine computes with: precisions, instructions, threads, the allocator, and how much memory there is.

Nothing here knows of federated learning.
"""
