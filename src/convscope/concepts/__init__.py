"""Concepts with masks: what a unit may be named after, and where on an image it is.

    generated     images made on demand: colours, edges, lines, stripes, spots, rings, corners, curves, crosses, …
    labelled      the user's own: a folder with images/ and masks/CONCEPT/

Both give a `ConceptSet`: numbered examples, each with its pixels and one mask for every concept that it shows.
"""

from __future__ import annotations

from convscope.concepts.generated import generated
from convscope.concepts.labelled import labelled
from convscope.concepts.sets import Concept, ConceptSet, Example

__all__ = ["Concept", "ConceptSet", "Example", "generated", "labelled"]
