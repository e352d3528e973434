"""The rows of the session-state contract that have tests here, and the noise that alone would disturb each.

rows_red.py plays every row with its own noise only, so that a row which turns red does so for its own sake and not
because, say, a stranger's search_path was in the way. An empty tuple stands for every kind of noise.
"""

ROWS = {
    "SET carried": ("settings",),
    "SET in transactions": ("settings",),
    "SET LOCAL": ("settings",),
    "custom GUC unset": ("settings",),
    "set_config": ("settings",),
    "startup parameters": ("settings",),
    "roles": ("roles",),
    "defaults": ("settings",),
    "prepared statements": ("prepared",),
    "unnamed statement": ("unnamed",),
    "SQL PREPARE": ("prepared",),
    "WITH HOLD cursors": ("cursors",),
    "advisory locks": ("locks",),
    "temporary objects": ("temp",),
    "LISTEN": ("listen",),
    "sequences": ("sequences",),
    "opaque statements": ("settings", "locks", "temp"),
    "reset batches": ("settings", "prepared", "reset"),
    "own views": ("prepared",),
    "databases": (),
    "session's end": (),
    "left to PostgreSQL": (),
    "protocol": (),
    "cancel": (),
}


# Scenarios that are known not to hold through pgporter: (row, case or function, pool or None for all) -> why. They are
# expected to fail, strictly: one that begins to hold fails its test until it is taken out of here. The README's list
# of limits says the same.
NOT_HELD = {
}


# The same for some versions of PostgreSQL: (row, case or function, pool or None for all) -> versions, why.
NOT_HELD_ON = {("own views", "test_behind_discard_all_in_a_batch", None): ((18,), "a Query in the middle of a batch behind statements of pgporter's own is told T for I")}


def not_held(row, name, pool, version):
    """Why this scenario can't hold yet on a version of PostgreSQL, or None."""
    for key in ((row, name, pool), (row, name, None)):
        versions, why = NOT_HELD_ON.get(key, ((), None))
        if key in NOT_HELD or version in versions:
            return NOT_HELD.get(key) or why
    return None
