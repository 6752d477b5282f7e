"""The probes of each lab's tasks; labN.py registers those of lab N."""
