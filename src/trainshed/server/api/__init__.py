"""The REST door, `/api/v1`: thin typed routers over the services. Streams and uploads are in `streams/`."""
