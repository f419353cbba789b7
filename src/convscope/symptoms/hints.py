"""What a sentence says of the program, and what that speaks for: "I do not call zero_grad", "Dense(1) with softmax".

A hint alone is no symptom; it weighs in among the causes of the symptoms, or stands for itself where it names a fault.
Patterns are read in the plain sentence (lower case, American spelling).
"""

from __future__ import annotations

# pattern: the causes it speaks for, with weights (a symptom's causes weigh 100 together)
HINTS: dict[str, dict[str, float]] = {
    r"softmax[^|]*(?:one|single|1) (?:\w+ )?(?:unit|neuron|output|node)|(?:one|single|1) (?:\w+ )?(?:unit|neuron|"
    r"output|node)[^|]*softmax"
    r"|dense\(1\b[^|]*softmax|softmax[^|]*dense\(1\b": {"O1": 120},
    r"softmax": {"O2": 14, "O1": 14, "O10": 6},
    r"softmax[^|]*before[^|]*(?:loss|entropy)|softmax[^|]*cross ?entropy ?loss|cross ?entropy ?loss[^|]*softmax|"
    r"softmax (?:as|in the|at the) (?:last|end|final)|softmax twice|double softmax": {"O2": 60},
    r"softmax[^|]*hidden|hidden[^|]*softmax": {"O10": 90},
    r"(?:one|single) (?:sigmoid|output|unit|neuron) for \d+|fewer outputs": {"O7": 90},
    r"always 1(?:\.0+)?\b|outputs? (?:is|are) (?:all |always )?1(?:\.0+)?\b": {"O1": 60},
    r"sigmoids?[^|]*(?:exclusive|\d+|five|ten|several|multi)[^|]*class|multi-?class[^|]*sigmoid": {"O6": 90},
    r"sigmoid[^|]*categorical": {"O6": 60},
    r"\b(?:0|zero)[- .]*(?:to|and|-|–|\.\.)?[- .]*255\b|raw \w+|unscaled|not normaliz|without normaliz"
    r"|different(?: \w+)? scales?|standardize my input|normalize my input|large input": {"D1": 90},
    r"normaliz\w*[^|]*twice|twice[^|]*normaliz|double normaliz|divided[^|]*twice": {"D3": 150},
    r"(?:labels?|targets?|\by\b)[^|]*(?:divid\w+|/ ?255|by 255|rescal\w*)|(?:divid\w+|rescal\w*)[^|]*(?:labels?|"
    r"\by\b)": {"D5": 90},
    r"one[- ]?hot|sparse categorical|label encod|integer labels|class ind(?:ices|exes)": {"D6": 90},
    r"shuffl\w*[^|]*separate|separate\w*[^|]*shuffl|mis-?align|wrong pairs|permut|only the inputs|inputs[^|]*shuffl|"
    r"labels? (?:are |were )?(?:random|shuffled|mixed)": {"D7": 110},
    r"imbalanc|unbalanced|minority|majority|skewed class|9\d ?(?:%|percent) of (?:my |the )?(?:samples|data|examples|"
    r"images)|rare class"
    r"|only background|thinned": {"D8": 80},
    r"shuffle ?= ?false|not shuffl|sorted by|ordered by|validation split|without shuffl": {"D9": 70},
    r"missing values?|\bnull\b|csv|nan in (?:the |my )?(?:data|input)|corrupt": {"D10": 60},
    r"(?:forgot|did not|not|never)[^|]*(?:rescale|scale|normalize|preprocess)[^|]*test|test[^|]*(?:not|un)[^|"
    r"]*(?:scale|normalize)d?"
    r"|different preprocessing|test[^|]*without[^|]*(?:scal|normaliz)|my own (?:photo|image|picture)": {"D11": 90},
    r"augment|random crop|color jitter|cutout|mixup|erasing": {"D12": 70},
    r"duplicate|leak|copied from|held[ -]?out[^|]*100|same images in": {"D13": 70},
    r"targets? (?:left |are |not )*(?:un)?scaled|unscaled targets?": {"D4": 70},
    r"targets? [^|]*(?:\d{3,}|thousand|million|large|unscaled)|prices?|hundred thousands?|salar(?:y|ies)": {"D4": 50},
    r"targets? [^|]*(?:up to|in|from|between|range)[^|]*\d{2,}|negative values|exceeds? 1\b|saturates? at": {"O4": 70},
    r"(?:relu|sigmoid|tanh) output|(?:ends? in|last layer is|with) (?:a )?(?:relu|tanh|sigmoid)|-1[^|]*sigmoid": {"O4": 62},
    r"\btanh\b[^|]*(?:output|end|last|target)|relu[^|]*(?:output layer|last layer|at the end|as "
    r"output)": {"O4": 40, "O10": 15},
    r"autoencoder|reconstruction": {"O4": 30, "D1": 10},
    r"torch\.log\b|\blog\(|\bln\(|nll ?loss|\bnll\b|logits?": {"O3": 60},
    r"(?:from ?logits|linear output)[^|]*cross ?entropy": {"O3": 40},
    r"(?:mse|mean squared|squared error)[^|]*classif|classif[^|]*(?:mse|mean squared)|wrong loss": {"O5": 110},
    r"target size|broadcast|\(\d+, ?1\)|shape mismatch|\(n, ?1\)": {"O8": 90},
    r"reduction ?= ?.?sum|other samples|(?<!arg)(?<!argmax )dim ?=? ?0|sum (?:where|instead of)|batch ?size "
    r"(?:bigger|larger)|raise the batch size|larger batch": {"O9": 50},
    r"(?:dropout|batch ?norm|relu|activation|tanh)[^|]*(?:after the last|last layer|final layer|at the output|output "
    r"layer|at the end)":
        {"O10": 60, "A11": 20},
    r"softmax[^|]*(?:batch axis|over the batch|wrong axis)|(?:reduction|loss)[^|]*wrong axis": {"O9": 90},
    r"batch ?norm[^|]*output|output[^|]*batch ?norm": {"A11": 45, "O10": 30},
    r"unsupervised|reward|f\(output\)|self-supervised|custom objective": {"O10": 28, "P3": 14, "O4": 8, "A11": 8},
    r"no activation|without activation|only linear|straight line|linear function|five dense": {"A1": 60},
    r"\bxor\b|sine?\b": {"A1": 30, "A6": 15},
    r"\brelu": {"A2": 14},
    r"(?:sigmoid|tanh)[^|]*(?:layers|deep|hidden)|deep (?:network|net|model)|skip connection|residual|\d\d+ "
    r"(?:hidden )?layers": {"A4": 60},
    r"vanishing": {"A4": 40},
    r"\brnn\b|\blstm\b|\bgru\b|recurrent": {"A5": 14, "A4": 14},
    r"batch ?norm|batchnorm|bn layer": {"A11": 40},
    r"running (?:mean|stat|var)": {"A11": 70},
    r"batch ?size (?:of )?[12]\b": {"A11": 40},
    r"dropout": {"A12": 24, "E1": 8},
    r"zero.?init|init\w*[^|]*(?:zeros?|constant|ones|same)|all weights (?:are )?0?\.\d+": {"A7": 100},
    r"init\w*|seeds?\b|xavier|std ?= ?\d": {"A8": 24},
    r"init[^|]*(?:std|scale|large|wide|uniform)": {"A8": 50},
    r"(?:lr|learning rate|rate)[ =]*(?:of |is |at )?(?:0?\.[05-9]\d?\b|0?\.[1-9]\d*|[1-9]\d*(?:\.\d+)?\b)|(?:high|"
    r"large) (?:learning )?rate|rate[^|]*(?:raised|too high|too large)"
    r"|adam at 0?\.0?[1-9]": {"P1": 40},
    r"(?:lr|rate)[ =]*(?:of )?(?:1e-[5-9]|0?\.0000\d+)|(?:small|low|tiny) (?:learning )?rate|rate[^|]*(?:lowered|too "
    r"low|too small)": {"P2": 70},
    r"(?:minus|sign|gradient ascent|maximiz\w+|-loss)": {"P3": 60},
    r"zero ?grad|never clear|not clear|accumulat": {"P4": 130},
    r"(?:forgot|missing|without|no|not call)[^|]*(?:optimizer\.step|\.step\(\)|backward)": {"P5": 100},
    r"(?:froze|freez|frozen|requires grad|transfer learning|fine-?tun|pretrained|backbone|replaced the|new head|last "
    r"layer of)": {"P6": 45},
    r"requires ?_?grad[ =]*false|optimizer (?:was )?(?:built|created|made)[^|]*before|part of the parameters": {"P6": 80},
    r"detach|\.data\b|\.item|no ?grad\b|numpy|argmax in": {"P7": 100},
    r"weight ?decay|\bl2\b|\bl1\b|regulari[sz]": {"P8": 60},
    r"schedul|steplr|decay[^|]*epoch|reduce ?lr": {"P9": 70},
    r"optimizer[^|]*(?:inside|created|in the loop)|epsilon|\beps\b|betas?\b|momentum": {"P10": 110},
    r"still (?:falling|decreasing|going down|improving)|too few epochs|only \d epochs": {"P11": 50},
    r"fp16|half precision|mixed precision|float16|\bamp\b|underflow|autocast": {"P12": 90},
    r"clip": {"P13": 70},
    r"(?:forgot|without|not call)[^|]*(?:eval|train)\(|inference|at test time|every time i run": {"E1": 40},
    r"(?:validat|predict|test|evaluat)[^|]*train(?:ing)? mode|(?:not|never|without)[^|]*eval mode|never "
    r"train mode": {"E1": 80},
    r"regression": {"E2": 6, "O4": 8, "D4": 8, "O8": 5},
    r"accuracy[^|]*regression|regression[^|]*accuracy": {"E2": 60},
    r"overfit(?:s|ting)?\b": {"E3": 30},
    r"arg ?max[^|]*(?:dim|axis|batch)|argmax": {"E4": 70},
    r"\baxis\b": {"E4": 14, "O9": 14},
    r"segmentation|mask": {"D8": 12},
    r"some runs": {"A2": 20},
    r"small (?:network|model)|too few (?:units|neurons|layers)|one hidden|bottleneck|one[- ]unit": {"A6": 65},
    r"pool": {"A10": 25},
    r"view\(|reshape|flatten": {"A9": 40},
    r"offset|mean (?:of )?\d{2,}|not centered|zero mean": {"D2": 60},
}  # fmt: skip
NAMES_A_FAULT = 60  # a hint as heavy as this stands for itself, without a symptom
