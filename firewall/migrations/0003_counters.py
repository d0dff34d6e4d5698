import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("firewall", "0002_trial"), ("hosts", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Counter",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("service", "published service"),
                            ("restriction", "zone restriction"),
                            ("custom", "own rule"),
                        ],
                        max_length=11,
                    ),
                ),
                (
                    "name",
                    models.CharField(help_text="the service, ZONE-NUMBER/RESTRICTION, PLACE: RULE", max_length=330),
                ),
                ("week", models.DateField(help_text="the Monday it is counted from")),
                ("count", models.PositiveBigIntegerField(default=0, help_text="in that week")),
                (
                    "raw",
                    models.PositiveBigIntegerField(
                        default=0, help_text="as the kernel last showed it; a reload starts it anew"
                    ),
                ),
                (
                    "host",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="counters", to="hosts.host"
                    ),
                ),
            ],
            options={"ordering": ["host", "kind", "name"]},
        ),
        migrations.AddConstraint(
            model_name="counter",
            constraint=models.UniqueConstraint(fields=("host", "kind", "name"), name="one_counter_an_object"),
        ),
    ]
