"""Follow the channels of a draft; take units and layers away, put them in.

channels.py, ways.py   which channels are one and the same, and who writes, carries and reads them
moving.py              channels away, twice or new, in all weights at once
cutting.py, fits.py    a piece away, and what mends the sizes
shortcuts.py           a shortcut around a span
measuring.py, scoring.py   what values do on images, how much a unit matters
"""
