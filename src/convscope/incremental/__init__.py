"""Run again only what a local change of the input can reach, exactly, for many changes at once.

regions.py    which rectangle of a map can change, one axis at a time: integers only
rules.py      how each operation is run again on a rectangle of its map
executor.py   the graph, a clean pass, and changed passes over it
"""
