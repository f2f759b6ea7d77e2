"""Every text with which device models, assertions on register accesses and the pytest plugin say that something is
wrong: what is wrong, where (class and attribute, file and line), and what to do.

This package knows nothing, so that every room may import it, and does when there is something to say.  Each function
gives one text; `tests/testing/test_model_messages.py` and its neighbours provoke each and compare the whole of it.
(Their `cls`, `part` and `block` are RegisterBlock and its parts; knowing these types would be an import.)
"""

from __future__ import annotations

from machine.testing.messages.accesses import *  # noqa: F403
from machine.testing.messages.at_work import *  # noqa: F403
from machine.testing.messages.attaching import *  # noqa: F403
from machine.testing.messages.buses import *  # noqa: F403
from machine.testing.messages.declarations import *  # noqa: F403
from machine.testing.messages.faults import *  # noqa: F403
from machine.testing.messages.markers import *  # noqa: F403
from machine.testing.messages.naming import *  # noqa: F403
from machine.testing.messages.programs import *  # noqa: F403
from machine.testing.messages.sweep import *  # noqa: F403
