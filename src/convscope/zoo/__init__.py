"""A known architecture to start from: one file a family, every public function builds one, freshly initialised.

Each file has `INPUTS`, the (C, H, W) that its networks were published with. Names and shapes of parameters and buffers are
torchvision's where it has the network, so that its published weights load as they are. No class here needs more than torch.
"""
