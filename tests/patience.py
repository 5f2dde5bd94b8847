"""Factor by which tests wait longer than on a fast machine.

A test waits for the whole of a limit only if something is broken, so limits may be generous. Tests
name the limit that fits the machine on which they were written, and multiply it by `PATIENCE`. The
limits of the fault table are requirements, and stay as they are.
"""

import os

PATIENCE = 1.0 if os.environ.get("FRESH_PROCESSES") else 5.0
"""Factor by which a machine may be slower than the one on which the limits were chosen."""
