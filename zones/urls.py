from __future__ import annotations

from django.urls import path

from zones import address_views, views, vpn_views

app_name = "zones"
urlpatterns = [
    path("", views.list_, name="list"),
    path("addresses/", address_views.addresses, name="addresses"),
    path("addresses/add/", address_views.add, name="address_add"),
    path("addresses/<int:pk>/remove/", address_views.remove, name="address_remove"),
    path("create/", views.create, name="create"),
    path("vpn/", vpn_views.list_, name="vpn"),
    path("vpn/add/", vpn_views.add, name="vpn_add"),
    path("vpn/<int:pk>/revoke/", vpn_views.revoke, name="vpn_revoke"),
    path("vpn/<int:pk>/write/", vpn_views.write, name="vpn_write"),
    path("<int:pk>/", views.detail, name="detail"),
    path("<int:pk>/change/", views.change, name="change"),
    path("<int:pk>/apply/", views.apply, name="apply"),
    path("<int:pk>/delete/", views.delete, name="delete"),
]
