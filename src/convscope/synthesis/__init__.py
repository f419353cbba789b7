"""Images made by optimisation, in four parts that go together in any combination (Olah, Mordvintsev, Schubert 2017).

objective.py   what is to grow: a unit, a direction, a layer, a class, sums and differences of these, two networks
image.py       what is changed: pixels, Fourier coefficients or phases; colours.py: their correlation
shake.py       how the image is moved at each step, so that no single pixel counts
loop.py        the ascent itself: seeded, in batches, with frames
forward.py     the network as far as it is needed: frozen, folded, for any canvas; redirect.py: blocked ReLUs
"""
