from __future__ import annotations

from django.apps import AppConfig


class MachinesConfig(AppConfig):
    name = "machines"
    verbose_name = "Machines"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from dom0 import uploads
        from hosts import visibility, watch
        from machines import (
            adopt_kinds,
            change_kinds,
            change_views,
            changing,
            create_kinds,
            doctor_kinds,
            drift,
            expected_kinds,
            expected_moves,
            figures_book,
            image_kinds,
            kinds,
            limits_kinds,
            moves,
            observe,
            offering,
            reinstall_kinds,
            rescue_kinds,
            run_kinds,
            snapshot_kinds,
            snapshot_watch,
        )
        from ui import registry
        from zones.dependents import register_dependents
        from zones.moving import register_follower

        kinds.register_kinds()
        create_kinds.register_kinds()
        change_kinds.register_kinds()
        register_dependents(changing.dependents)
        expected_kinds.register_kinds()
        adopt_kinds.register_kinds()
        doctor_kinds.register_kinds()
        watch.register_rarely(drift.sweep)
        watch.register_rarely(uploads.sweep)
        image_kinds.register_kinds()
        limits_kinds.register_kinds()
        snapshot_kinds.register_kinds()
        reinstall_kinds.register_kinds()
        rescue_kinds.register_kinds()
        run_kinds.register_kinds()
        register_follower(moves.FOLLOWER)
        register_follower(expected_moves.FOLLOWER)
        watch.register_observer(observe.book)
        watch.register_observer(figures_book.book)
        watch.register_observer(snapshot_watch.book)
        visibility.register("machine", offering.jobs_of)
        visibility.register("snapshot", snapshot_watch.jobs_of)
        visibility.register("diagnosis", offering.jobs_of)
        registry.search(offering.find)
        registry.fragment("job.plan", change_views.before_and_after)
        registry.attention(offering.needs)
        registry.attention(snapshot_watch.needs)
