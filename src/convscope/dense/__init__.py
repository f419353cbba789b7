"""What would the network say of every window of a larger picture? The scores of all windows, sharing what they share.

    window(y, x) = X[:, g·y : g·y + n, g·x : g·x + m]          score[y, x] = f(window(y, x))

reading.py    the graph, read for what neighbouring windows have in common; which layer ends it, and why
sharing.py    one operation of the graph: what it does to a map that windows share (words: steps.py)
axes.py       the integers: which map position of which window stands where in a shared map
pieces.py     a layer's values for all windows of a tile, shared where they are equal
primitives.py convolution, pooling, dense layers on such pieces
strips.py     convolution near a window's frame, as products of matrices
walk.py       one pass over a tile: à trous, the network's own stride, zones, real context
fragments.py  the same with shifted fragments in place of dilation
window.py     the loop over windows in batches: the reference, and what is always exact
tiles.py      tiles with overlap, a bound on memory, progress
choose.py     the cheapest exact way, or the reason why there is none
peaks.py      the best windows that do not overlap
mining.py     a detector trained twice, the second time on its own mistakes
scan.py       all of it: picture and network in, score map and boxes out

Sources: Giusti, Cireşan, Masci, Gambardella, Schmidhuber 2013, "Fast image scanning with deep max-pooling convolutional
neural networks"; Li, Zhao, Wang 2014, "Highly efficient forward and backward propagation of convolutional neural networks
for pixelwise classification"; Sermanet et al. 2014, "OverFeat". Zones are our own.
"""
