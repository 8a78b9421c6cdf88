"""Where Django's doors are. Event streams, uploads and predictions are routed in `asgi.py`, before these."""

from django.urls import path

from trainshed.server.api.main import api

urlpatterns = [path("api/v1/", api.urls)]
handler404 = "trainshed.server.api.main.not_found"
handler500 = "trainshed.server.api.main.broken"
