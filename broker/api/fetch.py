"""Fetch (1), versions 4-18: records; on controller listeners the metadata log.

v5 log start offset; v7 sessions (KIP-227); v9 leader epoch; v11 rack; v12 flexible, divergence
(KIP-595); v13 topic ids; v15 replica state; v16 leader hints (KIP-951); v17 directory id; v18
high watermark (KIP-1166). Every answer is sessionless (session id 0), which every client accepts.
A fetch waits for min_bytes or max_wait_ms.
"""
