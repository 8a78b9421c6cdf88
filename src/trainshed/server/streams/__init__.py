"""The asynchronous doors: event streams, uploads, predictions and attempts' blobs, by Starlette.

They translate like `api/` does, through the same authenticator and services; database work runs in threads.
"""
