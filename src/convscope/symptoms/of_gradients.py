"""Messages of autograd and optimisers: cut graphs, graphs used twice, values written over."""

from __future__ import annotations

from convscope.symptoms.message import Message

MESSAGES = (
    Message(r"element \d+ of tensors does not require grad and does not have a grad_fn", "P7",
            "backward() from a loss that depends on no parameter", "between the parameters and the loss the graph is "
            "cut: detach(), .data, .item(), NumPy, torch.tensor(loss), argmax, a forward under no_grad; or every "
            "parameter is frozen", "compute the loss from the network's own output, outside no_grad, and leave at "
            "least one parameter trainable",
            "-loss = criterion(torch.tensor(output.detach()), y)\n+loss = criterion(output, y)",
            "loss.requires_grad is True just before backward()"),
    Message(r"Trying to backward through the graph a second time", "P5", "backward() twice through one graph",
            "a graph is freed after backward(). The second call goes through what the first had: a loss or hidden "
            "state kept over steps, a total loss that is added up, two losses with a shared part",
            "compute the loss anew in every step; detach a state that is carried over; add losses up first, then call "
            "backward() once", "-total_loss += loss\n+total_loss += loss.item()\n+hidden = hidden.detach()",
            "each step calls backward() once, on a loss of its own forward"),
    Message(r"a (?:view of a )?leaf Variable that requires grad is being used in an in-place operation", "P5",
            "a parameter is written over while autograd watches", "assigning into a parameter, or +=, is not the "
            "optimiser's step: autograd would have to differentiate it",
            "change parameters under no_grad, with copy_ or nn.init",
            "+with torch.no_grad():\n+    layer.weight.copy_(new)",
            "no parameter stands on the left of =, += or [...] = outside no_grad"),
    Message(r"one of the variables needed for gradient computation has been modified by an inplace operation(?:: "
            r"\[torch\.\w+ (?P<shape>\[[\d, ]*\])\], which is output (?P<number>\d+) of (?P<operation>\w+))?", "P5",
            "{what} was written over before backward() could use it", "an in-place operation (+=, relu_(), x[...] = …, "
            "inplace=True) or an optimiser step between forward and backward changed a value that the gradient needs",
            "write a new tensor instead; and call backward() before step()",
            "-x += y\n+x = x + y\n-nn.ReLU(inplace=True)\n+nn.ReLU()", "without in-place operations the message is gone",
            lambda v, _: {"what": f"the output of {v['operation']}, {v['shape']}," if "operation" in v else "a value"},
            ("operation", "shape")),
    Message(r"grad can be implicitly created only for scalar outputs", "O9", "backward() from a loss of many values",
            "a loss a sample (reduction='none') or the raw outputs have no single gradient", "take the mean",
            "-loss.backward()\n+loss.mean().backward()", "loss.ndim is 0"),
    Message(r"Can't call numpy\(\) on Tensor that requires grad", "P7", "a tensor of the graph is turned into NumPy",
            "NumPy has no gradients; inside a loss this would cut the graph",
            "for showing numbers: detach first; for a loss: use torch's functions instead of NumPy's",
            "-output.numpy()\n+output.detach().cpu().numpy()", "the value is only shown or stored"),
    Message(r"can't optimize a non-leaf Tensor", "P6", "the optimiser is given a computed tensor",
            "what .to(), .cuda(), * or a layer returned is no parameter",
            "give model.parameters(), after the model was moved",
            '-w = nn.Parameter(torch.randn(3)).cuda()\n+w = nn.Parameter(torch.randn(3, device="cuda"))',
            "every given tensor has is_leaf True"),
    Message(r"optimizer got an empty parameter list", "P6", "the optimiser has nothing to train",
            "the model has no parameters: layers in a plain list, everything filtered out by requires_grad, or a "
            "generator used up", "keep layers in nn.ModuleList, and call parameters() where it is needed",
            "-self.layers = [nn.Linear(4, 4)]\n+self.layers = nn.ModuleList([nn.Linear(4, 4)])",
            "len(list(model.parameters())) > 0"),
    Message(r"some parameters appear in more than one parameter group", "P6",
            "a parameter is in two groups of the optimiser", "its step would be taken twice", "give each parameter once",
            "", ""),
    Message(r"'NoneType' object has no attribute '(?:norm|data|zero_|abs|mean|clone|item)'", "P7",
            "a gradient that is None is used", "this parameter got no gradient: backward() was not called yet, the "
            "layer is not used in forward, or the graph is cut before it",
            "call it after backward(), and skip unused parameters", "+if p.grad is not None:",
            "p.grad is a tensor after backward()"),
    Message(r"Inference tensors cannot be saved for backward|Inplace update to inference tensor", "P7",
            "a value made under inference_mode is trained on", "tensors of inference_mode never enter a graph",
            "compute what is trained on outside of it; use no_grad for frozen features",
            "-with torch.inference_mode():\n+with torch.no_grad():", "x.is_inference() is False"),
    Message(r"Expected more than 1 value per channel when training, got input size torch\.Size\((?P<shape>\[[\d, "
            r"]+\])\)", "A11", "batch norm over a single value a channel: {shape}", "a batch of one has no variance. "
            "Mostly the last, smaller batch; or one image is predicted in training mode",
            "drop the last batch, use larger batches, or call eval() before predicting",
            "-DataLoader(data, batch_size=32)\n+DataLoader(data, batch_size=32, drop_last=True)\n+model.eval()  # for "
            "predictions", "every batch of the loader has two examples or more",
            lambda _, s: {"where": s.module or "batch norm"}, ("shape",)),
    Message(r"Expected more than 1 spatial element when training, got input size torch\.Size\((?P<shape>\[[\d, ]+\])\)",
            "A10", "instance norm over maps of one position: {shape}", "one value has no variance: pooled down too early",
            "drop the norm or a pooling", "", "", None, ("shape",)),
    Message(r"Invalid (?P<what>learning rate|momentum value|weight_decay value|epsilon value|beta parameter[^:]*): "
            r"(?P<value>\S+)", "P10", "{what} {value}", "optimisers refuse what cannot descend; a negative rate climbs",
            "choose a positive number", "+optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)", "", None,
            ("value",)),
    Message(r"cannot assign module before Module\.__init__\(\) call", "", "a layer is assigned before the module began",
            "super().__init__() must run first", "call it in the first line of __init__", "+super().__init__()", ""),
    Message(r"is missing the required \"forward\" function", "", "the module has no forward",
            "it is misspelt, or indented into __init__", "define forward(self, x) on the class", "", ""),
)
