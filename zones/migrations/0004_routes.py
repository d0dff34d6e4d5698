from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('zones', '0003_seen'),
    ]

    operations = [
        migrations.AddField(
            model_name='networkseen',
            name='routes',
            field=models.JSONField(default=list, help_text='of the main table: to, way, device'),
        ),
    ]
