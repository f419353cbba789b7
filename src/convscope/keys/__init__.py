"""Keyed images: pictures stored unreadable, networks that read them all the same, and the attacks that undo it.

key.py               the secret: a block-wise orthogonal transform, a permutation within blocks, a shuffle of blocks
filters.py           the same key on the filters of the first layer: where it is exact, and why not elsewhere
stored.py            keyed images on disk
patches.py           the small patch-embedding network that the report trains
jigsaw.py, statistics.py, unpaired.py, known_pairs.py, learned_inverse.py, gradient_leakage.py       attacks, one a file
one_way.py           the other way: train on features of a frozen front part, and how well an inverter sees through it
accuracy.py          what the key costs: the same network trained on plain and on keyed images
report.py            all attacks on one key: a table and pictures

A key hides a picture from a glance. It is obfuscation and no proof of secrecy: the report shows how far each attack comes.
"""

from convscope.keys.key import KINDS, Key

__all__ = ["KINDS", "Key"]
