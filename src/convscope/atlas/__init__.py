"""Write an atlas: a folder of results for one network and one collection, with a page that a browser opens from disk.

    index.html, app/        the page (copied from web/static)
    data/KEY.js             `convscope.put("KEY", {…})`: scripts, because a page opened from disk may load nothing else
    thumbs/, pictures/      what the page shows
    record/                 the sweep (record.py)
    results/                the same answers as results, for Python: `convscope.store.Store(atlas / "results")`
    network.pt2, atlas.json the network and what was asked, so that `convscope serve` can ask more

The sweep is resumable, image pages are kept once made, and every file is written whole or not at all.
"""

from convscope.atlas.work import Settings, Work
from convscope.atlas.writing import write

__all__ = ["Settings", "Work", "write"]
