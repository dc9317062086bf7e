"""Plug-ins of every format behind one class: pedalboard's pedals, VST3 and VST2 files, LV2 by URI.

Their parameters lie in 0..1, their latency is removed, and every call starts from rest. A foreign
plug-in runs in a process of its own with a time limit: one that crashes, hangs or is missing ends
in a `PluginError`, and the next call starts a fresh process.
"""
