"""Networks of many tasks in one computation, with the inner gradient written out layer by layer."""
