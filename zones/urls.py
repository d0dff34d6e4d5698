from __future__ import annotations

from django.urls import path

from zones import views

app_name = "zones"
urlpatterns = [
    path("", views.list_, name="list"),
    path("addresses/", views.addresses, name="addresses"),
    path("create/", views.create, name="create"),
    path("<int:pk>/", views.detail, name="detail"),
    path("<int:pk>/change/", views.change, name="change"),
    path("<int:pk>/apply/", views.apply, name="apply"),
    path("<int:pk>/delete/", views.delete, name="delete"),
]
