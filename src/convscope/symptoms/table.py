"""The symptoms that people report, how they are recognised in a tagged sentence, and the causes behind each.

The weights follow what studies of faulty programs counted: three quarters of the faults sit in last layer, loss and labels
(Cao et al. 2022, "DeepFD"; Humbatova et al. 2020); of silent PyTorch faults the most are in loss and activation, missing or
misplaced training calls and cut graphs. They are odds among causes of one symptom, not probabilities of a program.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Symptom:
    """One symptom: its name in plain words, patterns of tags (any of them), causes with their weight."""

    name: str
    patterns: tuple[str, ...]
    causes: dict[str, float]
    strength: float = 1.0  # how much it says beside others in one sentence


def _symptom(name: str, patterns: str, causes: str, strength: float = 1.0) -> Symptom:
    """Patterns a line each; `_` stands for anything within one clause, `~` for anything at all."""
    lines = (line.strip().replace("GOOD", "(?:GOOD|HIGH)") for line in patterns.strip().splitlines())
    made = (line.replace("~", ".*").replace(" _ ", r"(?: [^|]*)? ") for line in lines)
    odds = dict(part.split(":") for part in causes.split())
    return Symptom(name, tuple(rf"(?:^| ){p}(?: |$)" for p in made), {k: float(v) for k, v in odds.items()}, strength)


SYMPTOMS: tuple[Symptom, ...] = (
    _symptom("the loss is NaN or infinite after some steps", r"""
        NAN
        INF""", "P1:30 D1:25 A5:12 O3:14 D10:10 D4:8 A8:4 P12:2"),
    _symptom("the loss is NaN from the first step", r"""
        (?:NAN|INF)~FIRST
        FIRST~NAN""", "D10:45 D1:18 O3:15 A8:8 D4:8", 1.5),
    _symptom("the loss or the weights do not change at all", r"""
        LOSS _ FREEZES
        FREEZES _ LOSS
        (?:weights|parameters|params|model|layers) _ FREEZES
        FREEZES _ (?:weights|parameters)
        LOSS _ SAME
        LOSS~it _ FREEZES
        LOSS _ exactly
        LOSS _ moves?""", "P6:24 P5:23 P7:21 O1:9 A2:9 P9:5 P2:5 D1:4"),
    _symptom("the loss does not go down", r"""
        LOSS _ FLAT
        FLAT _ LOSS
        LOSS _ is flat
        TRAIN _ FLAT
        (?:model|network|net|it|classifier|net\w*) _ FLAT""", "D1:20 P1:17 O1:11 P6:10 P5:7 P2:9 A2:7 O4:6 P7:6 A4:5 "
                                                              "D7:5 O2:4"),
    _symptom("nothing is learned", r"""
        NOLEARN""", "D1:18 P1:13 O1:12 P6:9 P5:9 P7:8 D7:8 A2:5 D6:5 A4:5 P2:5"),
    _symptom("the loss goes down very slowly", r"""
        SLOWLY
        slow~LOSS""", "P2:40 D1:16 A4:10 O5:8 D2:8 A3:6 P8:5 P13:5", 1.2),
    _symptom("it stops improving after the first epoch", r"""
        (?:DOWN|FLAT|FREEZES|NOLEARN|stops?)~AFTER
        AFTER~(?:FLAT|FREEZES|NOLEARN)""", "P9:30 P1:16 A2:12 O10:12 A11:11 D1:6 P2:5 O4:5", 1.3),
    _symptom("every input gets the same answer", r"""
        OUTPUT _ SAME
        SAME _ OUTPUT
        OUTPUT _ FREEZES
        FREEZES _ OUTPUT
        OUTPUT _ (?:single|one) class""", "D1:24 O1:22 D8:17 A2:12 P1:9 D7:6 A4:5 A7:3"),
    _symptom("one class is answered, the most frequent one", r"""
        OUTPUT _ (?:majority|dominant|most frequent|largest|background)
        OUTPUT _ SAME _ class _ 0
        SAME OUTPUT class ZERO
        OUTPUT~only~(?:negative|positive)
        imbalanced?""", "D8:60 D1:15 O1:10 A2:6 E2:6", 1.5),
    _symptom("the outputs are all zero", r"""
        OUTPUT _ ZERO
        ZERO _ OUTPUT""", "A2:38 O4:22 D8:12 O10:8 O1:5 A8:5 P8:5", 1.4),
    _symptom("the mean of the targets is predicted", r"""
        OUTPUT _ (?:mean|average)
        (?:mean|average) _ OUTPUT
        OUTPUT~straight horizontal""", "O8:38 D1:17 O4:14 D7:10 P2:6 A2:5 A4:5", 1.5),
    _symptom("accuracy stays at chance", r"""
        ACC _ (?:FLAT|FREEZES|NOLEARN|SAME|CHANCE)
        (?:FLAT|FREEZES|SAME) _ ACC
        CHANCE""", "O1:25 D1:23 D7:12 D6:11 P1:9 P6:5 O7:5 E4:4 D3:3"),
    _symptom("accuracy is always 0", r"""
        ACC _ ZERO
        ZERO _ ACC""", "D6:36 E2:32 D9:10 O7:8 E4:6 D7:4", 1.5),
    _symptom("accuracy is above 1", r"""
        ACC _ (?:larger|greater|bigger|more|above|over|exceeds) _ (?:1|one|100)
        ACC _ \d{3,} ?%""", "E2:70 E4:20", 2.5),
    _symptom("accuracy is about one over the batch size", r"""
        ACC~batch ?size""", "E4:55 E2:25 O9:5", 2),
    _symptom("loss and accuracy disagree", r"""
        LOSS[^V]* DOWN[^V]* ACC _ (?:FLAT|FREEZES|DOWN|BAD|SAME|ZERO|CHANCE)
        ACC[^V]* (?:DOWN|FLAT|FREEZES|CHANCE|ZERO|BAD)[^V]* LOSS _ (?:DOWN|GOOD|goes)
        ACC[^V]* UP[^V]* LOSS _ UP""", "E2:33 O3:20 D8:13 D6:10 E4:10 O6:6 O1:3", 1.6),
    _symptom("training is good and validation is bad", r"""
        TRAIN~(?:GOOD|DOWN|UP)~VAL~(?:BAD|CHANCE|UP|FLAT|DOWN|wrong|\d\d)
        VAL~(?:BAD|UP|FLAT)~TRAIN~(?:GOOD|DOWN|UP)
        GOOD _ TRAIN~BAD _ VAL
        (?:GOOD|works) _ (?:VAL|TRAIN)~BAD
        \d\d[^|]* TRAIN~wrong
        overfit\w*""", "E3:46 D11:14 D9:9 A11:9 D13:5 E1:5 D5:4 D7:3"),
    _symptom("validation is bad from the first epoch on", r"""
        VAL~(?:FIRST|CHANCE)
        VAL~from the first""", "D11:38 D9:24 A11:18 E1:12 D5:5", 1.4),
    _symptom("validation accuracy is 0", r"""
        VAL _ ACC _ ZERO
        VAL _ ZERO""", "D9:60 D6:12 D11:12 E2:6", 2),
    _symptom("validation is better than training", r"""
        VAL _ (?:DOWN|GOOD|lower|higher|better|above|smaller)(?: \w+)? than _ TRAIN
        VAL _ (?:than|below|under|above) _ TRAIN
        VAL _ (?:lower|higher|better) than _ LOSS
        TRAIN _ (?:below|under|lower than|worse than|BAD) _ VAL""", "A12:38 D12:24 E1:14 D13:10 D9:5", 2.2),
    _symptom("validation is suspiciously good", r"""
        VAL _ (?:too|suspiciously|unbelievably|perfect) _ GOOD?
        VAL _ GOOD _ VAL
        too good to be true""", "D13:62 E2:12 D8:10 A12:3", 2),
    _symptom("validation jumps about while training is smooth", r"""
        VAL[^|]* (?:OSCILLATES|SPIKES)""", "A11:38 E1:17 P1:17 D9:8 E3:8 D8:4", 2.2),
    _symptom("validation or new data are bad", r"""
        VAL _ BAD
        BAD _ VAL
        (?:works|fine|GOOD) _ VAL~BAD""", "E3:24 D11:26 A11:13 D9:12 E1:10 D5:3", 0.8),
    _symptom("accuracy is bad", r"""
        ACC _ BAD
        BAD _ ACC
        results? _ (?:CHANCE|BAD)""", "D1:18 O1:12 O6:11 O4:11 D6:10 O5:9 D7:7 O3:7 P1:5 A6:4", 0.8),
    _symptom("the modes train and eval disagree", r"""
        eval\w*~TRAIN
        TRAIN~eval\w*
        eval\w* _ (?:mode|DOWN|BAD|FLAT)
        evaluate""", "A11:40 E1:32 D11:8 A12:6 O9:5", 2),
    _symptom("the same input gets different answers", r"""
        OUTPUT _ (?:change|changes|differs?|different|vary|varies) _ (?:SAME|every|each|time)
        (?:different|changing|varying) _ OUTPUT~SAME
        different _ OUTPUT""", "E1:60 A12:14 A11:8 O9:6", 2.5),
    _symptom("an answer depends on the batch", r"""
        (?:OUTPUT|results?) _ depends? _ batch~
        depends? _ batch
        batch ?size 1 _ (?:BAD|different)
        batch of one""", "A11:33 E1:32 O9:30", 2.2),
    _symptom("the loss is negative", r"""
        LOSS _ NEGATIVE
        NEGATIVE _ LOSS
        LOSS _ -\d\S*""", "O3:45 O5:18 D6:16 D1:6 D4:4 P3:4", 2),
    _symptom("the loss is 0 and nothing else shows it", r"""
        LOSS _ (?:ZERO|almost 0|near 0|close to 0)""", "O1:48 O7:24 D5:10 D6:8 E3:4", 1.5),
    _symptom("the loss is huge", r"""
        LOSS _ HUGE
        HUGE _ LOSS""", "D4:40 A8:19 O9:14 D1:13 O3:4 P1:5", 1.5),
    _symptom("the first loss is far above guessing", r"""
        HUGE~FIRST
        FIRST~HUGE""", "A8:40 D4:25 D1:12 O9:8", 1),
    _symptom("the loss rises", r"""
        (?<!VAL )LOSS _ UP
        UP _ LOSS""", "P3:36 P1:33 P4:12 O3:5 D1:5 A5:4"),
    _symptom("the loss falls first and explodes later", r"""
        EXPLODES
        LOSS~DOWN~then~(?:UP|EXPLODES)""", "P1:44 A5:26 P4:12 D1:10 O9:3", 1.3),
    _symptom("the loss swings", r"""
        LOSS _ OSCILLATES
        OSCILLATES _ LOSS
        (?:TRAIN|it) _ OSCILLATES""", "P1:42 D1:11 P4:12 D9:12 D2:8 A11:4 P11:3"),
    _symptom("the loss has a sawtooth", r"""
        saw ?tooth
        LOSS _ UP~each epoch~DOWN""", "D9:62 P1:12 P4:6 D7:5", 2.5),
    _symptom("the loss has spikes", r"""
        SPIKES""", "A5:34 P1:32 D10:8 D9:8 P12:4 P10:4", 1.3),
    _symptom("a small sample cannot be fitted", r"""
        (?:not|cannot|never|unable to|FLAT|NOLEARN)[^|]* (?:overfit|memorize)
        (?:not|cannot|never)[^|]* (?:single|one|10|ten|few|small) _ (?:batch|samples?|examples?)""",
        "A6:24 D6:22 D1:16 P2:8 P6:6 O4:6 A12:5 P8:4", 2.5),
    _symptom("only a straight line is fitted", r"""
        (?:fits?|learns?|fit|OUTPUT|only) _ (?:linear|straight line)
        linear function
        ~xor""", "A1:55 A6:16 A2:8 O4:5 D1:4", 2),
    _symptom("even the training data are not fitted", r"""
        underfit\w*
        LOSS _ HIGH
        TRAIN LOSS _ HUGE
        TRAIN ACC _ BAD
        (?:not|NOLEARN|FLAT|never) _ TRAIN ACC""", "A6:26 P2:16 D12:12 P8:11 A12:10 P11:9 A1:5 D1:5"),
    _symptom("gradients are None", r"""
        GRAD _ (?:none|null)
        (?:none|null) _ GRAD""", "P7:52 P6:27 P5:12", 2.5),
    _symptom("gradients are zero or vanish", r"""
        GRAD _ (?:ZERO|VANISH|tiny|small)
        (?:ZERO|VANISH) _ GRAD""", "A4:32 A2:26 A3:12 P7:8 P12:8 A8:5", 2),
    _symptom("gradients grow", r"""
        GRAD _ (?:UP|EXPLODES|HUGE)
        EXPLODES _ GRAD""", "A5:42 P4:30 P1:12 A8:8", 1.6),
    _symptom("units are dead", r"""
        (?:dead|dying) _ (?:neurons?|units?|relus?)
        (?:neurons?|units?|relus?) _ (?:dead|die|dying)""", "A2:65 P1:12 A8:8 D1:5", 3),
    _symptom("units are all alike", r"""
        (?:filters?|neurons?|units?|weights|kernels?) _ (?:SAME|alike)
        SAME _ (?:filters?|neurons?|units?)""", "A7:68 D1:5 P6:6 A2:5", 2.5),
    _symptom("the outputs do not reach the targets", r"""
        OUTPUT _ (?:exceeds?|reach\w*|beyond|FLAT|capped|limited|bounded)
        (?:not|cannot|never) _ OUTPUT _ NEGATIVE
        (?:not|cannot|never) _ OUTPUT _ negative values
        targets? _ (?:goes|go|DOWN|UP|range|up to|in \d)""", "O4:62 D4:16 D1:5 O10:5", 2),
    _symptom("runs differ by their seed", r"""
        (?:between|across|some|different) _ (?:runs|seeds|restarts)
        (?:reproducib|non ?determinis)\w*""", "A8:30 A2:25 P1:14 A7:5 P10:8 E1:8 D8:3", 2),
    _symptom("weights shrink to zero", r"""
        (?:weights|parameters) _ (?:DOWN|ZERO|VANISH)""", "P8:60 A2:10 P1:8 P10:6", 2),
    _symptom("the loss was still falling at the end", r"""
        LOSS _ still _ DOWN
        still (?:DOWN|learning|improving)""", "P11:55 P2:25 D1:5", 2),
)
