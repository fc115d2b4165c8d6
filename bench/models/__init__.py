"""Networks that say where they can be cut, factored and ended, and the layers of their sub-models.

Nothing here knows of tasks, methods or rounds.
"""
