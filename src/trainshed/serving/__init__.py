"""The model server: models load on demand, requests are batched, answers are probabilities.

Only web speaks to it, and web has authorised before. No torch, no Django, no database here.
"""
