"""The server: doors that translate, services that decide, records that remember, a queue that never forgets."""
