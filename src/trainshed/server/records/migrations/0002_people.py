import django.db.models.deletion
import trainshed.server.records.ids
from django.conf import settings
from django.db import migrations, models

# A row of the audit log can be added and nothing else; only an address may be blanked, for a person who has gone.
SQLITE = """
CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log keeps its rows'); END;
CREATE TRIGGER audit_keeps_words BEFORE UPDATE ON audit
WHEN NEW.id <> OLD.id OR NEW.at <> OLD.at OR NEW.workspace_id IS NOT OLD.workspace_id OR NEW.actor <> OLD.actor
  OR NEW.token_id <> OLD.token_id OR NEW.action <> OLD.action OR NEW.noun <> OLD.noun OR NEW.thing_id <> OLD.thing_id
  OR NEW.thing_name <> OLD.thing_name OR NEW.details <> OLD.details OR NEW.address <> ''
BEGIN SELECT RAISE(ABORT, 'the audit log keeps its rows'); END;
"""
POSTGRESQL = """
CREATE FUNCTION audit_keeps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.address = '' THEN
    OLD.address := '';
    IF NEW IS NOT DISTINCT FROM OLD THEN RETURN NEW; END IF;
  END IF;
  RAISE EXCEPTION 'the audit log keeps its rows';
END $$;
CREATE TRIGGER audit_keeps_rows BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_keeps();
CREATE TRIGGER audit_keeps_all BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_keeps();
"""


def seal_audit(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(POSTGRESQL)
        return
    with schema_editor.connection.cursor() as cursor:
        for statement in SQLITE.strip().split(";\nCREATE"):
            begun = statement if statement.startswith("CREATE") else f"CREATE{statement}"
            cursor.execute(begun if begun.rstrip().endswith(";") else f"{begun};")


def people_as_before(apps, schema_editor):
    """Whoever is here already: their address is proved, and the workspace that they own is their own."""
    EmailAddress, Person = apps.get_model("account", "EmailAddress"), apps.get_model("records", "Person")
    Membership, Workspace = apps.get_model("records", "Membership"), apps.get_model("records", "Workspace")
    for person in Person.objects.all():
        EmailAddress.objects.create(user_id=person.id, email=person.email, verified=True, primary=True)
        first = Membership.objects.filter(person=person, role="owner").order_by("created_at").first()
        if first:
            Workspace.objects.filter(id=first.workspace_id, personal_of=None).update(personal_of=person.id)


class Migration(migrations.Migration):

    dependencies = [
        ('records', '0001_initial'),
        ('account', '__first__'),
    ]

    operations = [
        migrations.CreateModel(
            name='RateLimit',
            fields=[
                ('key', models.CharField(max_length=120, primary_key=True, serialize=False)),
                ('due_at', models.FloatField()),
            ],
            options={
                'db_table': 'rate_limit',
            },
        ),
        migrations.AddField(
            model_name='project',
            name='description',
            field=models.TextField(blank=True, default=''),
        ),
        migrations.AddField(
            model_name='project',
            name='task',
            field=models.CharField(default='classification', max_length=20),
        ),
        migrations.AddField(
            model_name='token',
            name='beginning',
            field=models.CharField(blank=True, default='', max_length=12),
        ),
        migrations.AddField(
            model_name='token',
            name='created_by',
            field=models.CharField(blank=True, default='', max_length=40),
        ),
        migrations.AddField(
            model_name='token',
            name='role',
            field=models.CharField(blank=True, default='', max_length=10),
        ),
        migrations.AddField(
            model_name='workspace',
            name='deleted_at',
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name='workspace',
            name='personal_of',
            field=models.OneToOneField(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='personal_workspace', to=settings.AUTH_USER_MODEL),
        ),
        migrations.CreateModel(
            name='AuditRow',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.FloatField(default=trainshed.server.records.ids.wall_clock)),
                ('workspace_id', models.CharField(max_length=20, null=True)),
                ('actor', models.CharField(max_length=40)),
                ('token_id', models.CharField(blank=True, default='', max_length=20)),
                ('address', models.CharField(blank=True, default='', max_length=45)),
                ('action', models.CharField(max_length=60)),
                ('noun', models.CharField(max_length=20)),
                ('thing_id', models.CharField(blank=True, default='', max_length=64)),
                ('thing_name', models.CharField(blank=True, default='', max_length=300)),
                ('details', models.JSONField(default=dict)),
            ],
            options={
                'db_table': 'audit',
                'indexes': [models.Index(fields=['workspace_id', '-id'], name='audit_newest')],
            },
        ),
        migrations.CreateModel(
            name='LoginCode',
            fields=[
                ('id', trainshed.server.records.ids.RandomId(default=trainshed.server.records.ids.new_id, editable=False, max_length=20, primary_key=True, serialize=False)),
                ('sha256', trainshed.server.records.ids.Key(max_length=64, unique=True)),
                ('challenge', models.CharField(max_length=64)),
                ('token_name', models.CharField(max_length=200)),
                ('expires_at', models.FloatField()),
                ('person', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'login_code',
            },
        ),
        migrations.CreateModel(
            name='Session',
            fields=[
                ('session_data', models.TextField(verbose_name='session data')),
                ('expire_date', models.DateTimeField(db_index=True, verbose_name='expire date')),
                ('session_key', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('public_id', trainshed.server.records.ids.Key(default=trainshed.server.records.ids.new_id, max_length=20, unique=True)),
                ('address', models.CharField(blank=True, default='', max_length=45)),
                ('browser', models.CharField(blank=True, default='', max_length=300)),
                ('created_at', models.FloatField(default=trainshed.server.records.ids.wall_clock)),
                ('last_seen_at', models.FloatField(default=trainshed.server.records.ids.wall_clock)),
                ('person', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='sessions', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'session',
                'verbose_name_plural': 'sessions',
                'db_table': 'session',
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='Invite',
            fields=[
                ('id', trainshed.server.records.ids.RandomId(default=trainshed.server.records.ids.new_id, editable=False, max_length=20, primary_key=True, serialize=False)),
                ('role', models.CharField(max_length=10)),
                ('email', models.EmailField(blank=True, default='', max_length=254)),
                ('sha256', trainshed.server.records.ids.Key(max_length=64, unique=True)),
                ('created_at', models.FloatField(default=trainshed.server.records.ids.wall_clock)),
                ('expires_at', models.FloatField()),
                ('reminded_at', models.FloatField(null=True)),
                ('accepted_at', models.FloatField(null=True)),
                ('revoked_at', models.FloatField(null=True)),
                ('accepted_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('invited_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='invites', to='records.workspace')),
            ],
            options={
                'db_table': 'invite',
                'constraints': [models.CheckConstraint(condition=models.Q(('role__in', ['viewer', 'editor', 'owner'])), name='invite_role_known')],
            },
        ),
        migrations.CreateModel(
            name='ProviderGrant',
            fields=[
                ('id', trainshed.server.records.ids.RandomId(default=trainshed.server.records.ids.new_id, editable=False, max_length=20, primary_key=True, serialize=False)),
                ('provider', models.CharField(max_length=200)),
                ('subject', models.CharField(max_length=300)),
                ('sealed', models.TextField()),
                ('updated_at', models.FloatField(default=trainshed.server.records.ids.wall_clock)),
                ('person', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='provider_grants', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'provider_grant',
                'constraints': [models.UniqueConstraint(fields=('provider', 'subject'), name='provider_grant_once')],
            },
        ),
        migrations.CreateModel(
            name='Quota',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('resource', models.CharField(max_length=20)),
                ('used', models.BigIntegerField(default=0)),
                ('most', models.BigIntegerField(null=True)),
                ('grace', models.BigIntegerField(default=0)),
                ('period', models.CharField(blank=True, default='', max_length=7)),
                ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='quotas', to='records.workspace')),
            ],
            options={
                'db_table': 'quota',
                'constraints': [models.UniqueConstraint(fields=('workspace', 'resource'), name='quota_once'), models.CheckConstraint(condition=models.Q(('resource__in', ('stored_bytes', 'queued_jobs', 'running_jobs', 'gpu_seconds'))), name='quota_resource_known'), models.CheckConstraint(condition=models.Q(('used__gte', 0)), name='quota_used_not_negative'), models.CheckConstraint(condition=models.Q(('most', None), ('used__lte', models.F('most')), ('used__lte', models.F('grace')), _connector='OR'), name='quota_held')],
            },
        ),
        migrations.CreateModel(
            name='Share',
            fields=[
                ('id', trainshed.server.records.ids.RandomId(default=trainshed.server.records.ids.new_id, editable=False, max_length=20, primary_key=True, serialize=False)),
                ('noun', models.CharField(max_length=10)),
                ('thing_id', trainshed.server.records.ids.Key(max_length=20)),
                ('note', models.CharField(blank=True, default='', max_length=200)),
                ('sha256', trainshed.server.records.ids.Key(max_length=64, unique=True)),
                ('created_by', models.CharField(max_length=40)),
                ('created_at', models.FloatField(default=trainshed.server.records.ids.wall_clock)),
                ('expires_at', models.FloatField()),
                ('last_used_at', models.FloatField(null=True)),
                ('revoked_at', models.FloatField(null=True)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='records.project')),
                ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='shares', to='records.workspace')),
            ],
            options={
                'db_table': 'share',
                'constraints': [models.CheckConstraint(condition=models.Q(('noun__in', ['model', 'version', 'job'])), name='share_noun_known')],
            },
        ),
        migrations.CreateModel(
            name='CacheRow',
            fields=[
                ('key_sha256', trainshed.server.records.ids.Key(max_length=64, primary_key=True, serialize=False)),
                ('value', models.JSONField()),
                ('expires_at', models.FloatField(db_index=True)),
            ],
            options={
                'db_table': 'cache',
            },
        ),
        migrations.RunPython(seal_audit, migrations.RunPython.noop),
        migrations.RunPython(people_as_before, migrations.RunPython.noop),
        # The sessions of before, by what their cookies say; everybody signs in once more.
        migrations.RunSQL("DROP TABLE IF EXISTS django_session", migrations.RunSQL.noop),
    ]
