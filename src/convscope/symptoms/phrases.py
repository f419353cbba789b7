"""From a sentence to tags: the many ways of saying one thing become one word, in the order of the sentence.

    'My trainig loss doesn't decrease, but val acc is fine'  ->  'my TRAIN LOSS FLAT | VAL ACC GOOD'

Slips of the pen are mended against the words that the rules know (difflib's ratio, first letter equal), so that 'lerns'
is 'learns' while 'lights' stays what it is. Clauses are separated by '|'.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from functools import cache

_SPELLING = (("colour", "color"), ("grey", "gray"), ("behaviour", "behavior"), ("labelled", "labeled"))
# Words that people write and that a rule below reads; what is close to one of them is taken for it.
_KNOWN = """
accuracy accuracies always augmentation average background backward batch batchnorm batches better binary categorical
chance change changes changing class classes classification classifier classifies constant converge converges
converging criterion crossentropy decrease decreases decreasing different diverges dropout epoch epochs evaluation
exactly explode explodes exploding flat frozen function gradient gradients guessing huge identical imbalanced improve
improves improving increase increases increasing initial initialized input inputs iteration label labels layer layers
learn learning learns loss losses majority memorize memorized minority model move moves moving negative network never neurons
normalize normalized nothing objective optimizer oscillates oscillating output outputs overfit overfits overfitting
parameters performance plateau plateaus predict predicted prediction predictions predicts probabilities random
regression results sample samples saturates scheduler segmentation shuffle sigmoid softmax spikes stagnates
standardize stuck targets terrible train training unable underfitting unbalanced unstable update updates validation
vanishing weights zeros
""".split()  # noqa: SIM905
_SHORT = {"los": "loss", "lss": "loss", "trian": "train", "tets": "test", "cnan": "can"}  # too short for a ratio
_COMMON = frozenset("""
about after again although another around because before being below between could doing during every exceed first
found image images itself later least leave letter level light little local lower maybe minutes modern never number
other outside overall place plain point possible present raise raises really reason same should small something start
state still strange tests their there these thing things third those three times today trying under until upper using
value values where which while whole without would write wrong years
""".split())  # noqa: SIM905

_NO = (r"(?:does not|do not|did not|is not|are not|was not|will not|can not|could not|has not|not|never|no longer|"
       r"hardly|barely|stop(?:s|ped)?|fail(?:s|ed)? to|refuses? to|without|unable to|nothing|no)")
_RULES: tuple[tuple[str, str], ...] = (
    ("VAL", r"val(?:idation)?(?: set| data| split)?|test(?:ing)?(?: set| data| time)|test(?= (?:acc|loss|score|image|"
            r"result|perf|sample|error))|"
            r"(?<=on )(?:the )?test|held[ -]?out(?: data| set)?|unseen(?: data)?|new data|my own (?:photos?|images?|"
            r"data)|generali[sz]\w*"),
    ("ACC", r"accurac(?:y|ies)|acc|score|metric|f1|auc|recall|precision|r2"),
    ("LOSS", r"(?:loss(?:es)?|cost)(?: function| curve| value)?s?|objective|error|mse|mae|rmse|bce|nll|"
             r"(?:sparse |categorical |binary )*cross ?entropy(?: loss)?|criterion"),
    ("TRAIN", r"train(?:ing)?(?: set| data)?"),
    ("GRAD", r"grad(?:ient)?s?"),
    ("NAN", r"nans?|not a number"),
    ("INF", r"inf(?:inity|inite)?"),
    ("EXPLODES", r"explod\w*|blow(?:s|n)? up|diverg\w*|shoots? (?:up|to)|overflow\w*"),
    ("VANISH", r"vanish\w*|underflow\w*|die out"),
    ("SLOWLY", r"(?:very |extremely |too |so |really |painfully )?slow(?:ly)?(?: to converge)?|takes? (?:forever|"
               r"ages)|straight line$|barely \w+|"
               r"hardly \w+|by 0\.0\d+ per \w+"),
    ("FREEZES", r"(?:not|never|nothing) (?:\w+ )?(?:chang|mov|updat|budg)\w*|(?:no|without)(?: any)? (?:change|"
                r"effect|movement)|(?:completely |nearly )?"
                r"(?:flat|horizontal|constant|frozen|unchanged)|exactly the same|the same (?:number|value)(?: each| "
                r"every)?|stays? the same"),
    ("FLAT", rf"{_NO} (?:\w+ ){{0,2}}?(?:decreas|improv|go(?:es)? down|drop|converg|fall|get(?:s|ting)? (?:lower|"
             rf"better|below|smaller)|go(?:es)? below|"
             r"reduc|settle|progress|budge)\w*|stuck|plateau\w*|stagnat\w*|stay(?:s|ed)?(?= |$)|remains?|hang(?:s|"
             r"ing)|sits?|is fixed|saturat\w*|"
             r"wobbles? around|no improvement|not fall under|not go under"),
    ("NOLEARN", rf"{_NO} (?:\w+ ){{0,2}}?(?:learn|train|fit|work)\w*|learn\w* nothing|nothing is learned|isnt learning"),
    ("SAME", r"(?:the )?same|identical|equal|whatever i|no matter what|regardless of|always(?! 0$)|only ever|all the "
             r"time|constantly"),
    ("OUTPUT", r"predict(?:s|ed|ions?|ing)?|output(?:s|ted|ting)?|answers?|return(?:s|ed)?|classif(?:y|ies)|says?|"
               r"probabilit(?:y|ies)|fitted by"),
    ("CHANCE", r"chance(?: level)?|random(?: guess\w*)?|guessing|coin (?:flip|toss)|(?:the )?(?:class )?prior|base "
               r"?rate|(?:50|10) ?(?:%|percent)"),
    ("NEGATIVE", r"negative(?! values?| class| and)|below zero|less than (?:0|zero)"),
    ("HUGE", r"huge|enormous|gigantic|astronomical\w*|millions?|billions?|very (?:large|high|big)|extremely (?:large|"
             r"high|big)|1e\+?\d+"),
    ("OSCILLATES", r"oscillat\w*|jump\w*(?: \w+)?(?: up and down| around)?|bounc\w*|fluctuat\w*|noisy|unstable|zig "
                   r"?zag\w*|erratic\w*|all over the place|"
                   r"up and down|wild(?:ly)?|swing\w*"),
    ("SPIKES", r"spik\w*|sudden(?:ly)? (?:jump|peak|increas)\w*|peaks?"),
    ("UP", r"increas\w*|ris(?:es|ing|e)|grow(?:s|ing)?|go(?:es|ing)? up|climb\w*|gets? (?:worse|bigger|larger|"
           r"higher)|went up"),
    ("DOWN", r"decreas\w*|drops?|falls?|falling|go(?:es|ing)? down|went down|shrink\w*|declin\w*|get(?:s|ting) "
             r"(?:lower|smaller)"),
    ("ZERO", r"(?:all |only |exactly |always |just )*(?:zeros?|0|0\.0+)(?![.\d%])|blank"),
    ("FIRST", r"(?:right )?from the (?:very )?(?:first|start|beginning|outset)(?: \w+)?|at the (?:first|start|"
              r"beginning)(?: \w+)?|immediately|at once|"
              r"first (?:step|iteration|batch)|straight away|right away|initially"),
    ("AFTER", r"after (?:the |a |an |about |around )?(?:first|one|1|two|2|few|couple of|some|\d+) ?(?:epochs?|"
              r"batches|steps|iterations?|while)?|"
              r"then stop\w*|epoch 1|in the first epoch"),
    ("GOOD", r"9\d(?:\.\d+)? ?%|100 ?%|9\d percent|great|perfect|excellent|good|fine|"
             r"nicely|much (?:higher|better)|"
             r"nicely|smooth"),
    ("HIGH", r"(?:very |too |is |are )*high"),
    ("BAD", r"(?:very |much |is |are |really )?(?:low|lower|bad|poor|terrible|awful|worse|tiny|weak|horrible)(?! "
            r"than)|[1-7]\d(?:\.\d+)? ?(?:%|percent)|fails?|"
            r"wrong everywhere"),
)  # fmt: skip
_CLAUSE = re.compile(r"\s*(?:[,;:.!?](?=\s|$)|\bbut\b|\bwhile\b|\bwhereas\b|\balthough\b|\bthough\b|\bhowever\b|"
                     r"\byet\b|\band\b|\bwhen\b)\s*")


def plain(sentence: str) -> str:
    """Lower case, American spelling, contractions written out, slips mended.

    >>> plain("Loss doesn’t decrese; I normalised twice")
    'loss does not decrease; i normalized twice'
    """
    text = re.sub(r"[\x00-\x1f\x7f]", " ", unicodedata.normalize("NFKC", sentence))
    text = text.lower().replace("’", "'").replace("−", "-")
    text = re.sub(r"\bwon'?t\b", "will not", re.sub(r"\b(?:can't|cannot|cant)\b", "can not", text))
    text = re.sub(r"\b(do|does|did|is|are|was|has|could)n'?t\b", r"\1 not", text)
    text = " ".join(re.sub(r"(?<=[a-z])_(?=[a-z])", " ", text).split()) + " "
    for british, american in _SPELLING:
        text = text.replace(british, american)
    text = re.sub(r"\b(?!otherw|likew|exerc|prec|prom|surpr|adv)([a-z]{4,})is(e[sd]?|ing|ation)\b", r"\1iz\2", text)
    return re.sub(r"[a-z]{3,}", lambda m: _mended(m[0]), text).strip()


@cache
def _mended(word: str) -> str:
    if word in _SHORT:
        return _SHORT[word]
    if len(word) < 5 or word in _COMMON or word in _KNOWN:
        return word
    close = difflib.get_close_matches(word, [known for known in _KNOWN if known[0] == word[0]], n=1, cutoff=0.85)
    return close[0] if close else word


def tagged(text: str) -> str:
    """The tags of a plain sentence among its other words; clauses separated by '|'."""
    said = _CLAUSE.sub(" | ", f" {text} ")
    for tag, pattern in _RULES:
        said = re.sub(rf"(?<![\w-])(?<!\d\.)(?:{pattern})(?![\w])", f" {tag} ", said, flags=re.ASCII)
    return " ".join(said.split()).strip("| ")
