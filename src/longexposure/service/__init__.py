"""Work that comes by itself: a ledger of jobs, and a folder that is watched."""
