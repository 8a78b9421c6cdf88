"""The ledger: order, lease, fence, fair share, sweep. It knows no job kind and no domain row.

`order.py` decides, `sql.py` holds every statement, `ledger.py` runs them as transactions, `wake.py` hints.
"""
