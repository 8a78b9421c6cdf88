"""The rules: who may do what, and what happens in one transaction. One file per noun, one gate per noun.

A door asks `<noun>.get(actor, id, need=...)`; a foreign id and an unknown id give the same `NotFound`.
"""
