from __future__ import annotations

from django.contrib import admin

from accounts.models import Invitation, Membership, Owner, SSHKey, User
from ui.readonly import ReadOnlyAdmin


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    hidden = ("password", "groups", "user_permissions")
    list_display = ("username", "role", "is_active", "is_staff", "last_login", "date_joined")
    list_filter = ("role", "is_active")
    search_fields = ("username",)


@admin.register(Owner)
class OwnerAdmin(ReadOnlyAdmin):
    list_display = ("name", "person")
    list_select_related = ("person",)
    search_fields = ("name",)


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    list_display = ("owner", "user", "maintainer")
    list_select_related = ("owner", "user")


@admin.register(SSHKey)
class SSHKeyAdmin(ReadOnlyAdmin):
    list_display = ("name", "user", "fingerprint", "added")
    list_select_related = ("user",)
    search_fields = ("fingerprint", "name", "user__username")


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    hidden = ("token_digest",)
    list_display = ("user", "created", "expires", "used")
    list_select_related = ("user",)
