"""Which maps can be trusted? One file a measure. Called as `measure(case) -> Table`, with one row an image.

A `Case` (`_case.py`) holds the network, the images, the target, the heat-map that is judged, the method that made it, and,
where it is known, the truth. The column that bears the measure's name ('pointing_game') is its verdict. Every measure says

    name     as the command line spells it
    better   'higher' or 'lower' values
    ranks    does it tell better maps from worse, so that a random map and an edge map (`_baselines.py`) must be beaten?
    also     further columns that are worth a place in a table of methods

A measure that cannot be asked of a case raises UsageError with the reason.
"""
