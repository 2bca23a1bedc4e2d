"""The full-screen dashboard. It reads clusters.admin and clusters.watch and speaks no protocol."""
