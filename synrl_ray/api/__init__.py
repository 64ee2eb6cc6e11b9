"""What notebooks and scripts use, and what the command is a thin layer over: the same names and defaults.

``synrl_ray.train`` and the others are here. Arguments and their meanings are those of the command's options; errors are
:class:`~synrl_ray.errors.UserError`, one line that names the thing and the remedy.
"""

import logging
import warnings

# In a notebook Ray, and the tqdm that it imports, ask for widgets; what trains here shows its progress by itself.
warnings.filterwarnings("ignore", message="IProgress not found")
logging.getLogger("ray.widgets").setLevel(logging.WARNING)
