"""Why would a fault make such a symptom, what mends it, and what would show that it is not the cause? By fault code.

Texts are of the fault alone, since a sentence is all that is known; `convscope check` puts the numbers of a network to them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """One fault in words: the reason, the remedy, the change of the program, the evidence that would clear it."""

    why: str
    remedy: str
    disproof: str
    code: str = ""


_STANDARDISE = "-model(x)\n+model((x - x_train.mean(0)) / x_train.std(0))"

CAUSES: dict[str, Cause] = {
    "D1": Cause("large inputs make large first activations and a loss that is stiff: any rate is too high for some weights "
            "and too low for others", "standardise the inputs with the training set's statistics",
            "each input's mean is near 0 and its spread near 1, or the network begins with batch norm", _STANDARDISE),
    "D2": Cause("a mean that is large against the spread makes one direction of the loss far steeper than all others",
            "subtract the training set's mean", "|mean| / spread of every input is below 1",
            "-model(x)\n+model(x - x_train.mean(0))"),
    "D3": Cause("divided twice, images differ by thousandths only, and all look alike to the network",
            "divide once: ToTensor (or the model's first layer) does it already",
            "the inputs' range is about 1, not 1/255", "-x = ToTensor()(image) / 255\n+x = ToTensor()(image)"),
    "D4": Cause("squared errors of targets in the thousands give a loss in the millions and gradients to match; the output "
            "layer has to grow that far first", "standardise the targets, and undo it on the outputs",
            "the targets' mean is near 0 and their spread near 1",
            "-loss = mse(output, y)\n+loss = mse(output, (y - mean) / std)"),
    "D5": Cause("class indices divided by 255 become 0 when they are made whole: all examples have one label, which is "
            "learned at once", "scale the images only", "labels.unique() lists every class",
            "-x, y = x / 255, y / 255\n+x = x / 255"),
    "D6": Cause("the loss reads the labels otherwise than they are coded: indices against one-hot rows, −1/1 against 0/1, "
            "counting from 1", "match loss and coding: indices for CrossEntropyLoss and "
            "sparse_categorical_crossentropy, one-hot rows for categorical_crossentropy, 0/1 floats for binary losses",
            "labels of one batch, printed beside the outputs' shape, are what the loss documents",
            '-loss="categorical_crossentropy"\n+loss="sparse_categorical_crossentropy"  # labels are indices'),
    "D7": Cause("if inputs and labels are shuffled or filtered separately there is nothing to learn but the labels' "
            "frequencies", "shuffle and filter pairs with one permutation", "near neighbours among the inputs have the "
            "same label more often than chance, and a look at ten pairs agrees",
            "-x, y = x[perm1], y[perm2]\n+x, y = x[perm], y[perm]"),
    "D8": Cause("where one class is most of the data, answering it always is a good score without learning",
            "weigh the loss or sample the classes evenly, and watch balanced accuracy", "class counts are alike",
            "-nn.CrossEntropyLoss()\n+nn.CrossEntropyLoss(weight=counts.sum() / (K * counts))"),
    "D9": Cause("sorted data: batches hold one class each, and a validation part cut from the end holds classes never "
            "trained on", "shuffle before splitting and at every epoch; stratify the split",
            "every batch and both parts hold all classes in like shares",
            "-DataLoader(data, shuffle=False)\n+DataLoader(data, shuffle=True)"),
    "D10": Cause("a single NaN or infinity in the inputs makes the loss NaN in the step that reads it",
            "drop or fill such rows; drop constant columns before dividing by their spread",
            "torch.isfinite(x).all() holds for the whole data set, targets too", "+x = x[torch.isfinite(x).all(1)]"),
    "D11": Cause("what was trained on [0, 1] is tested on [0, 255], or with another crop, order of colours or mean",
            "one transform for both, with the training set's numbers",
            "mean and spread of each channel are the same for training and test batches",
            "-test_x = raw\n+test_x = (raw - x_train.mean()) / x_train.std()"),
    "D12": Cause("augmented images are so far from the real ones that they are another, harder task",
            "weaken the augmentation until training images are still recognised at a glance",
            "without augmentation the training score is no better",
            "-RandomErasing(p=1), ColorJitter(1, 1, 1)\n+RandomCrop(32, padding=4)"),
    "D13": Cause("examples, or near copies (frames of one film, patches of one photograph), are on both sides of the split",
            "split by origin, and drop duplicates before", "no hash of a test example occurs in training",
            "-train_test_split(x, y)\n+GroupShuffleSplit().split(x, y, groups=origin)"),
    "O1": Cause("softmax divides by the sum over the units: over a single unit that is always 1, whatever the input",
            "one unit: sigmoid (or a linear output for regression); softmax only over two units or more",
            "the outputs vary from example to example, or the last layer has more than one unit",
            '-Dense(1, activation="softmax")\n+Dense(1, activation="sigmoid")'),
    "O2": Cause("the loss applies softmax itself; probabilities put through it again are at best e / (e + C − 1), so the "
            "loss stops at ln(e + C − 1) − 1 and gradients are weak", "give the loss the logits",
            "rows of the model's output do not sum to 1",
            "-nn.Sequential(…, nn.Softmax(dim=1))\n+nn.Sequential(…)  # CrossEntropyLoss applies log-softmax"),
    "O3": Cause("a loss of probabilities takes the logarithm of outputs that are no probabilities: negative losses, or NaN",
            "use the loss of logits, or put the sigmoid or softmax before the loss",
            "all outputs lie in 0 … 1 (log-probabilities: below 0)",
            "-nn.NLLLoss() / nn.BCELoss()\n+nn.CrossEntropyLoss() / nn.BCEWithLogitsLoss()"),
    "O4": Cause("the last activation cannot reach the targets: sigmoid ends at 1, tanh at ±1, ReLU at 0",
            "a linear output for regression, or targets scaled into the activation's range",
            "every target lies strictly inside the range of the last activation",
            "-nn.Linear(n, 1), nn.Sigmoid()\n+nn.Linear(n, 1)"),
    "O5": Cause("the loss asks something other than the task: squared error for classes, or cross-entropy for amounts",
            "cross-entropy for classes, squared or absolute error for amounts",
            "targets are classes and the loss is a cross-entropy, or both are of amounts",
            "-nn.MSELoss()\n+nn.CrossEntropyLoss()"),
    "O6": Cause("independent sigmoids may all be high or all be low; that exactly one class is right is never used",
            "softmax over the classes (in PyTorch: logits and CrossEntropyLoss)",
            "an example may have several classes at once",
            '-Dense(K, activation="sigmoid")\n+Dense(K, activation="softmax")'),
    "O7": Cause("fewer outputs than classes cannot name them all; a cross-entropy over one output is 0 for ever",
            "as many outputs as classes", "the last layer's width is the number of classes",
            "-nn.Linear(n, 1)\n+nn.Linear(n, K)"),
    "O8": Cause("(N, 1) outputs against (N,) targets are broadcast to N×N pairs, and the best constant answer to all pairs "
            "is the mean", "give both the same shape", "output.shape == y.shape in the loss",
            "-loss = mse(output, y)\n+loss = mse(output.squeeze(1), y)"),
    "O9": Cause("softmax or the loss runs over the batch axis, or sums instead of averaging: what one example costs "
            "depends on its batch, and the step grows with the batch's size", "dim=1 and reduction='mean'",
            "the loss of one example is the same alone and in a batch",
            "-softmax(dim=0), reduction='sum'\n+softmax(dim=1), reduction='mean'"),
    "O10": Cause("an activation, norm or dropout at the output or a softmax inside the network squeezes or zeroes what the "
            "loss needs", "end with a linear layer; ReLU inside; no dropout after the last layer",
            "nothing follows the last linear layer, and no hidden layer is a softmax",
            "-…, nn.Linear(n, K), nn.BatchNorm1d(K), nn.Tanh()\n+…, nn.Linear(n, K)"),
    "A1": Cause("linear layers without an activation between them are one linear layer: a straight line is all they can fit",
            "an activation after every hidden layer", "f(a + b) − f(a) − f(b) + f(0) is not 0",
            "-nn.Linear(1, 64), nn.Linear(64, 1)\n+nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 1)"),
    "A2": Cause("units whose input is negative for every example give 0 and get no gradient: they never come back",
            "a lower rate and fresh weights, leaky ReLU, or batch norm before it", "few units are 0 for a whole batch",
            "-nn.ReLU()\n+nn.LeakyReLU(0.1)"),
    "A3": Cause("sigmoid and tanh are flat for large inputs, and so is the loss",
            "smaller inputs and weights, ReLU, or norm layers", "few units have a derivative below 0.01",
            "-nn.Sigmoid()\n+nn.ReLU()"),
    "A4": Cause("each sigmoid or tanh multiplies the gradient by a quarter or so: after ten layers the first ones get "
            "nothing", "ReLU with He's initialisation, norm layers, skip connections",
            "gradient over weight is of one order in the first and the last layer",
            "-nn.Sigmoid()\n+nn.BatchNorm1d(n), nn.ReLU()"),
    "A5": Cause("gradients grow with depth or time and one step throws the weights away",
            "clip the gradient's norm, lower the rate, norm layers", "the gradient's norm is steady until the loss jumps",
            "+nn.utils.clip_grad_norm_(model.parameters(), 1.0)"),
    "A6": Cause("too few units, or one that blocks the way: even the training data cannot be fitted", "more units or layers",
            "ten examples are fitted to the end with a tuned rate",
            "-nn.Linear(n, 1), nn.ReLU()\n+nn.Linear(n, 64), nn.ReLU()"),
    "A7": Cause("units that begin alike get the same gradient and stay alike: a layer is as good as one unit",
            "random initial weights; biases may be 0", "rows of each weight differ",
            "-nn.init.constant_(w, 0)\n+nn.init.kaiming_normal_(w)"),
    "A8": Cause("initial weights too large or too small: the first loss is far above that of guessing, or nothing gets "
            "through; some seeds recover and others do not", "the layers' own initialisation, or spread √(2 / inputs)",
            "the first loss is near ln C, and activations have a spread near 1 in every layer",
            "-nn.init.normal_(w, std=1)\n+nn.init.kaiming_normal_(w)"),
    "A9": Cause("layers in the wrong order or a view that mixes examples or axes",
            "flatten(1) after the maps, and permute for axes", "shapes by layer are what was meant (`convscope trace`)",
            "-x.view(-1, n)\n+x.flatten(1)"),
    "A10": Cause("maps of 1×1 early on have lost where everything was", "fewer poolings and strides",
            "maps before the flattening are 4×4 or larger", "-nn.MaxPool2d(2),"),
    "A11": Cause("in training batch norm uses the batch's own statistics, in evaluation running ones: small batches, a "
            "small momentum or a norm at the output make them disagree",
            "larger batches or group norm; momentum 0.1; more steps before evaluating; no norm at the output",
            "the same batch gives nearly the same loss in both modes",
            "-nn.BatchNorm2d(n, momentum=0.001)\n+nn.BatchNorm2d(n)"),
    "A12": Cause("dropout makes training harder than evaluation: the training score is that of a thinned network",
            "less dropout", "in evaluation mode the training score is as low", "-nn.Dropout(0.8)\n+nn.Dropout(0.2)"),
    "P1": Cause("the step is larger than the loss's curvature allows: it jumps across the valley, ever higher",
            "a tenth of the rate, then find the best by powers of three", "a tenth of the rate shows the same",
            "-lr=0.1\n+lr=0.01"),
    "P2": Cause("steps are too small to be seen: the loss declines in a straight line",
            "ten times the rate, again and again, until it turns unstable", "ten times the rate is not faster",
            "-lr=1e-6\n+lr=1e-3"),
    "P3": Cause("the loss is climbed: a minus too much, a negated loss, or an objective to be maximised given to a "
            "minimiser", "minimise the negative of what shall grow, and nothing else",
            "one step along the negative gradient lowers the loss of the same batch",
            "-loss = objective(output)\n+loss = -objective(output)    # if it shall be maximised"),
    "P4": Cause("without zero_grad() gradients of all steps add up: the step grows and points into the past",
            "clear them in every step", "p.grad is None or 0 just before backward()",
            "+optimizer.zero_grad()\n loss.backward()\n optimizer.step()"),
    "P5": Cause("no weight changes: step() or backward() is missing, or step() comes before backward()",
            "zero_grad, forward, backward, step, in this order", "the weights differ after a step",
            "+loss.backward()\n+optimizer.step()"),
    "P6": Cause("what should train is frozen, or the optimiser was given other tensors: made before the head was replaced, "
            "or from a part of the model", "make the optimiser last, from model.parameters()",
            "every parameter with requires_grad is in optimizer.param_groups",
            "+model.fc = nn.Linear(512, K)\n optimizer = Adam(model.parameters())  # after the replacement"),
    "P7": Cause("the graph is cut between parameters and loss: detach(), .data, .item(), NumPy, argmax, no_grad",
            "compute the loss on the output itself", "every parameter has a gradient that is not 0 after backward()",
            "-loss = criterion(output.detach(), y)\n+loss = criterion(output, y)"),
    "P8": Cause("the penalty on the weights outweighs the loss: they shrink to 0", "a hundredth of the weight decay",
            "without the penalty the loss is the same", "-weight_decay=0.1\n+weight_decay=1e-4"),
    "P9": Cause("the schedule multiplies the rate down to nothing within an epoch, often since it is stepped with every "
            "batch", "step it once an epoch", "the rate, printed each epoch, is of the same order",
            "-for x, y in loader: …; scheduler.step()\n+for epoch in …: train(); scheduler.step()"),
    "P10": Cause("an unusual setting of the optimiser (eps, betas, momentum), or an optimiser made anew in every step",
            "the defaults, and one optimiser for the whole run", "with default settings the same is seen",
            "-for x, y in loader:\n-    optimizer = Adam(…)\n+optimizer = Adam(…)\n+for x, y in loader:"),
    "P11": Cause("the training ends while the loss still falls: too few steps", "more epochs, or smaller batches",
            "the last tenth of the run is flat", "-epochs=2\n+epochs=50"),
    "P12": Cause("in half precision gradients below 6e-8 are 0, and values above 65504 infinite",
            "scale the loss, or use bfloat16", "in 32 bits the same is seen",
            "+scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()"),
    "P13": Cause("every gradient is cut to a length at which nothing moves", "a limit above the usual norm of the gradient",
            "few steps are clipped", "-clip_grad_norm_(p, 1e-6)\n+clip_grad_norm_(p, 1.0)"),
    "E1": Cause("dropout or batch norm is in the wrong mode: train() while predicting, or eval() while training",
            "train() before each epoch, eval() before predicting",
            "two predictions of one batch are equal, and model.training is True in training",
            "+model.eval()\n+with torch.no_grad():\n     output = model(x)"),
    "E2": Cause("the number that is shown is not what is learned: accuracy of a regression, a threshold that does not fit, "
            "a sum not divided by the examples", "the metric of the task, computed anew by hand on ten examples",
            "counted by hand on ten examples it is the same",
            '-metrics=["accuracy"]\n+metrics=["mae"]  # for a regression'),
    "E3": Cause("the network learns the training examples by heart", "more data, augmentation, weight decay, an "
                                                                     "earlier stop",
            "training and validation loss move together", "+stop at the lowest validation loss"),
    "E4": Cause("argmax runs over the batch, not over the classes", "argmax(dim=1)", "output.argmax(…).shape is (B,)",
            "-output.argmax(0)\n+output.argmax(1)"),
}
