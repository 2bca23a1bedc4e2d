"""The full-screen dashboard. It reads clusters.admin and clusters.watch and speaks no protocol."""

import os

# Textual reads it when it is loaded. A change of page takes two or three frames: at its usual 60 a
# second most of the time until the page stands would be waiting.
os.environ.setdefault("TEXTUAL_FPS", "120")
