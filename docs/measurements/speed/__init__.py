"""The sections of measure_speed.py: each module measures one thing, in `measure(rig)`."""
