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
    "prepared statements": ("prepared",),
    "unnamed statement": ("unnamed",),
    "SQL PREPARE": ("prepared",),
    "WITH HOLD cursors": ("cursors",),
    "advisory locks": ("locks",),
    "temporary objects": ("temp",),
    "LISTEN": ("listen",),
    "opaque statements": ("settings", "locks", "temp"),
    "reset batches": ("settings", "prepared", "reset"),
    "left to PostgreSQL": (),
    "protocol": (),
    "cancel": (),
}
