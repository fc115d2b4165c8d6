"""Results as one file: finished cells packed, unpacked, shown and opened.

Nothing here says whether a cell is of use now, and no bundle is believed: it is read and checked by the store.
"""
