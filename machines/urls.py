from __future__ import annotations

from django.urls import path

from machines import (
    console_views,
    doctor_views,
    image_views,
    limits_views,
    reinstall_views,
    run_views,
    snapshot_views,
    views,
)

app_name = "machines"
urlpatterns = [
    path("", views.list_, name="list"),
    path("mine/", views.mine, name="mine"),
    path("new/", views.create, name="create"),
    path("bulk/", views.bulk, name="bulk"),
    path("images/", image_views.images, name="images"),
    path("images/add/", image_views.image_add, name="image_add"),
    path("images/import/", image_views.image_import, name="image_import"),
    path("images/build/", image_views.image_build, name="image_build"),
    path("images/<int:pk>/delete/", image_views.image_delete, name="image_delete"),
    path("images/<int:pk>/kernel/", image_views.image_kernel, name="image_kernel"),
    path("defaults/", image_views.defaults_change, name="defaults_change"),
    path("<int:pk>/", views.detail, name="detail"),
    path("<int:pk>/history/", views.history, name="history"),
    path("<int:pk>/start/", views.start, name="start"),
    path("<int:pk>/stop/", views.stop, name="stop"),
    path("<int:pk>/restart/", views.reboot, name="reboot"),
    path("<int:pk>/pause/", run_views.pause, name="pause"),
    path("<int:pk>/resume/", run_views.resume, name="resume"),
    path("<int:pk>/console/", console_views.console, name="console"),
    path("<int:pk>/console/ticket/", console_views.console_ticket, name="console_ticket"),
    path("<int:pk>/console/line/", console_views.console_line, name="console_line"),
    path("<int:pk>/keys/", views.key, name="key"),
    path("<int:pk>/password/", views.password, name="password"),
    path("<int:pk>/doctor/", doctor_views.doctor, name="doctor"),
    path("<int:pk>/limits/", limits_views.limits, name="limits"),
    path("<int:pk>/limits/change/", limits_views.limits_change, name="limits_change"),
    path("<int:pk>/snapshots/", snapshot_views.snapshots, name="snapshots"),
    path("<int:pk>/snapshots/take/", snapshot_views.snapshot_take, name="snapshot_take"),
    path("<int:pk>/snapshots/<int:kept>/restore/", snapshot_views.snapshot_restore, name="snapshot_restore"),
    path("<int:pk>/snapshots/<int:kept>/delete/", snapshot_views.snapshot_delete, name="snapshot_delete"),
    path("<int:pk>/reinstall/", reinstall_views.reinstall, name="reinstall"),
    path("<int:pk>/delete/", views.delete, name="delete"),
]
