"""The log on disk, behind the Disk door. It must never await or read a clock."""
