from __future__ import annotations

from django.urls import path

from hosts import doctor_views, views

app_name = "hosts"
urlpatterns = [
    path("jobs/", views.jobs, name="jobs"),
    path("jobs/<int:pk>/", views.job, name="job"),
    path("jobs/<int:pk>/approve/", views.job_approve, name="job_approve"),
    path("jobs/<int:pk>/cancel/", views.job_cancel, name="job_cancel"),
    path("jobs/<int:pk>/go-on/", views.job_go_on, name="job_go_on"),
    path("jobs/<int:pk>/undo/", views.job_undo, name="job_undo"),
    path("hosts/", views.hosts, name="list"),
    path("hosts/<int:pk>/doctor/", doctor_views.doctor, name="doctor"),
]
