"""Pure partition roles: leader, follower, watermarks, ISR. It must never await or read a clock."""
