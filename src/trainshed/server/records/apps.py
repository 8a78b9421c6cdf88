"""The Django application that owns every table."""

from django.apps import AppConfig


class RecordsConfig(AppConfig):
    name = "trainshed.server.records"
    label = "records"
    default = True
