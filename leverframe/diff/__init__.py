"""The semantic difference of two definitions of a machine, ranked by risk.

risk        how dangerous a change is, and why
bypass      where nobody need be asked any more
shapes      what a change of a schema means beside its shape
difference  what changed, what can no longer be proven, one picture of both
renamed     the same machine under another name
impact      what becomes of the runs that are under way
formats     text, and Markdown for pull requests
"""

from leverframe.diff.difference import Difference as Difference
from leverframe.diff.difference import arrived as arrived
from leverframe.diff.difference import difference as difference
from leverframe.diff.difference import picture as picture
from leverframe.diff.impact import Parked as Parked
from leverframe.diff.impact import Standing as Standing
from leverframe.diff.impact import parked as parked
from leverframe.diff.renamed import renamed as renamed
