from __future__ import annotations

from django.urls import path

from accounts import people_views, views

app_name = "accounts"
urlpatterns = [
    path("account/", views.account, name="account"),
    path("account/keys/add/", views.key_add, name="key_add"),
    path("account/keys/<int:pk>/remove/", views.key_remove, name="key_remove"),
    path("account/theme/", views.theme, name="theme"),
    path("invitation/<str:token>/", views.invitation, name="invitation"),
    path("people/", people_views.people, name="people"),
    path("people/invite/", people_views.invite, name="invite"),
    path("people/<int:pk>/", people_views.person, name="person"),
    path("people/<int:pk>/role/", people_views.role, name="role"),
    path("people/<int:pk>/link/", people_views.link, name="link"),
    path("people/<int:pk>/deactivate/", people_views.deactivate, name="deactivate"),
    path("people/<int:pk>/activate/", people_views.activate, name="activate"),
    path("people/owners/create/", people_views.owner_create, name="owner_create"),
    path("people/owners/<int:pk>/", people_views.owner, name="owner"),
    path("people/owners/<int:pk>/members/add/", people_views.member_add, name="member_add"),
    path("people/members/<int:pk>/remove/", people_views.member_remove, name="member_remove"),
]
