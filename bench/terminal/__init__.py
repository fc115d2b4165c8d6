"""What a terminal shows while something runs, and tables that fit its width.

Nothing else prints a bar.
"""
