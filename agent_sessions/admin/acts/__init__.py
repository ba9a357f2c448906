"""What staff can do with a session: a table of actions, each a permission, what it says, and one call of a service.

In the order in which people look for them; what cannot be taken back comes last.
"""

from typing import Final

from agent_sessions.admin.acts.control import CONTROL, END
from agent_sessions.admin.acts.keeping import KEEPING, PURGE
from agent_sessions.admin.acts.shopping import SHOPPING
from agent_sessions.admin.acts.situation import Action

ACTIONS: Final[tuple[Action, ...]] = (*CONTROL, *SHOPPING, *KEEPING, END, PURGE)
