"""Local training, the only hot loop, evaluation, and who does both: this process, workers, recorded steps on a GPU.

Who is trained, and what becomes of it, is the simulation's.
"""
