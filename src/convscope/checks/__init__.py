"""Is this fault in the program? One question a file, called as `check(evidence)`: it gives suspicions, never an alarm.

Whether there is a symptom, and what comes first, is the verdict's part; whether a remedy holds, the proof's.
"""
