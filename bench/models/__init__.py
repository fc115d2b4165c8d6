"""Networks that say where they can be cut and factored, and the layers of their sub-models.

Nothing here knows of tasks, methods or rounds.
"""
