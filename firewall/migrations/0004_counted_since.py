from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("firewall", "0003_counters"),
    ]

    operations = [
        migrations.AddField(
            model_name="counter",
            name="begun",
            field=models.DateTimeField(
                blank=True, help_text="when the object was first seen; none: long ago", null=True
            ),
        ),
    ]
