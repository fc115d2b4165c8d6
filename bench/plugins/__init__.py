"""Methods, tasks and figures found in their folders, in files that users name, and in installed packages.

Nothing is run here but their import.
"""
