"""The five lines of the README: look at a trained network, ask why, and write an atlas."""

import convscope as cs

net = cs.open("demo:digits")  # or cs.open(your_model, example=x)
print(net.trace())  # every layer: sizes, costs, receptive field
heat = cs.attribute(net, "digits/0042", method="occlusion", window=2)  # which pixels decided?
heat.plot().savefig("why.png")
print(cs.atlas(net, "digits", out="atlas", minutes=0.5))  # everything, as a folder for a browser
