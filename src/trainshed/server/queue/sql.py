"""Every statement of the ledger, by name. `{now}`, `{lock}` and `{skip_locked}` come from the dialect.

The fences stand here and nowhere else: a write of an attempt names its job, its number and the state that it
believes in; when no row answers, the attempt no longer holds the job.
"""

SUBMIT = """
INSERT INTO job (id, workspace_id, project_id, kind, title, spec, state, priority, pool, num_gpus, attempt,
                 deaths, cancel_requested, pause_requested, revision, progress, idempotency_key, request_sha256,
                 created_by, created_at, available_at)
VALUES (%(job)s, %(workspace)s, %(project)s, %(kind)s, %(title)s, %(spec)s, %(state)s, %(priority)s, %(pool)s,
        %(num_gpus)s, 0, 0, FALSE, FALSE, 1, '{{}}', %(key)s, %(sha256)s, %(actor)s, {now}, 0)
ON CONFLICT (workspace_id, idempotency_key) DO NOTHING
RETURNING id
"""
FIND_BY_KEY = """
SELECT id, request_sha256 FROM job WHERE workspace_id = %(workspace)s AND idempotency_key = %(key)s
"""
PARENT = "INSERT INTO job_parent (job_id, parent_id) VALUES (%(job)s, %(parent)s)"
# Whoever decides by a row that others may be changing takes it first.
LOCK = "SELECT state, title FROM job WHERE id = %(job)s {lock}"
LOCK_BY_ATTEMPT = """
SELECT id FROM job WHERE id = (SELECT job_id FROM attempt WHERE id = %(attempt_id)s) {lock}
"""

# Story and audit

EVENT = """
INSERT INTO event (job_id, revision, attempt, kind, body, at)
VALUES (%(job)s, %(revision)s, %(attempt)s, %(kind)s, %(body)s, {now})
"""
TRANSITION = """
INSERT INTO transition (job_id, from_state, to_state, actor, attempt, at)
VALUES (%(job)s, %(from)s, %(to)s, %(actor)s, %(attempt)s, {now})
"""

# Counters

# A counter's row is always the last that a transaction takes, after the rows of jobs and everything else, and several
# are taken in the order of (workspace, resource): `counters.counted` sees to it, and so nobody waits in a circle.
TAKE = """
INSERT INTO quota (workspace_id, resource, used, grace, period)
VALUES (%(workspace)s, %(resource)s, %(change)s, 0, '')
ON CONFLICT (workspace_id, resource) DO UPDATE SET used = quota.used + excluded.used
    WHERE quota.most IS NULL OR quota.used + excluded.used <= quota.most
RETURNING used
"""
# What has happened counts beyond the limit too, and what starts anew with each month begins with the first of it. A
# counter that were wrong must not keep a job from ending: below nothing it stays at nothing.
_USED = """CASE WHEN quota.period < %(period)s THEN %(first)s
    WHEN quota.used + %(change)s < 0 THEN 0 ELSE quota.used + %(change)s END"""
COUNT = f"""
INSERT INTO quota (workspace_id, resource, used, grace, period)
VALUES (%(workspace)s, %(resource)s, %(first)s, %(first)s, %(period)s)
ON CONFLICT (workspace_id, resource) DO UPDATE SET used = {_USED}, grace = {_USED},
    period = CASE WHEN quota.period < %(period)s THEN %(period)s ELSE quota.period END
"""
USE = "SELECT used, most FROM quota WHERE workspace_id = %(workspace)s AND resource = %(resource)s"

# The snapshot that `order.plan` decides on

# Each row is found by its key, whatever a planner believes of the tables' sizes: so neither a long queue nor a long
# history is read for it.
SLOTS = """
SELECT id, host_id, pool, position, attempt_id,
       (SELECT workspace_id FROM job WHERE job.id = (SELECT job_id FROM attempt WHERE attempt.id = slot.attempt_id))
FROM slot ORDER BY host_id, pool, position
"""
SHARES = """
SELECT id, weight FROM workspace
WHERE (SELECT job.id FROM job WHERE job.state = 'queued' AND job.pool = %(pool)s
       AND job.workspace_id = workspace.id LIMIT 1) IS NOT NULL
"""
LIMITS = """
SELECT workspace_id, resource, used, most, period, {now} FROM quota
WHERE most IS NOT NULL AND resource IN ('running_jobs', 'gpu_seconds')
"""
QUEUED = """
SELECT id, num_gpus, priority, created_at FROM job
WHERE state = 'queued' AND pool = %(pool)s AND workspace_id = %(workspace)s AND available_at <= {now}
  AND num_gpus <= %(most_gpus)s
ORDER BY priority DESC, created_at, id LIMIT %(limit)s
"""

# An attempt's life

ASSIGN = """
UPDATE job SET state = 'assigned', attempt = attempt + 1, revision = revision + 1
WHERE id = (SELECT id FROM job WHERE id = %(job)s AND state = 'queued' {skip_locked})
RETURNING attempt, revision, kind, workspace_id
"""
TAKE_SLOT = "UPDATE slot SET attempt_id = %(attempt_id)s WHERE id = %(slot)s AND attempt_id IS NULL RETURNING id"
NEW_ATTEMPT = """
INSERT INTO attempt (id, job_id, number, token_sha256, host_id, num_events, assigned_at, lease_expires_at,
                     "end", exit)
VALUES (%(attempt_id)s, %(job)s, %(attempt)s, %(token)s, %(host)s, 0, {now}, {now} + %(lease)s, '', '{{}}')
"""
START = """
UPDATE job SET state = 'running', started_at = COALESCE(started_at, {now}), revision = revision + 1
WHERE id = %(job)s AND attempt = %(attempt)s AND state = 'assigned'
RETURNING revision, cancel_requested, pause_requested
"""
HOLD = """
SELECT revision, cancel_requested, pause_requested FROM job
WHERE id = %(job)s AND attempt = %(attempt)s AND state = 'running' {lock}
"""
RENEW = """
UPDATE attempt SET lease_expires_at = {now} + %(lease)s, started_at = COALESCE(started_at, {now})
WHERE id = %(attempt_id)s
"""
SEEN_EVENTS = "SELECT num_events FROM attempt WHERE id = %(attempt_id)s"
COUNT_EVENTS = "UPDATE attempt SET num_events = %(num)s WHERE id = %(attempt_id)s"
TELL = """
UPDATE job SET revision = revision + %(num)s, progress = COALESCE(%(progress)s, progress) WHERE id = %(job)s
"""
CHECKPOINT = """
INSERT INTO checkpoint (job_id, workspace_id, attempt, step, blob_id, at)
VALUES (%(job)s, %(workspace)s, %(attempt)s, %(step)s, %(sha256)s, {now})
ON CONFLICT (job_id) DO UPDATE SET attempt = excluded.attempt, step = excluded.step,
                                   blob_id = excluded.blob_id, at = excluded.at
"""
ARTIFACT = """
INSERT INTO artifact (workspace_id, job_id, attempt, name, blob_id)
VALUES (%(workspace)s, %(job)s, %(attempt)s, %(name)s, %(sha256)s)
"""
PUBLISH = """
UPDATE job SET state = 'succeeded', result = %(result)s, ended_at = {now}, revision = revision + 1
WHERE id = %(job)s AND attempt = %(attempt)s AND state = 'running' AND NOT cancel_requested
RETURNING revision, EXISTS (SELECT 1 FROM job_parent WHERE parent_id = job.id)
"""
END = """
UPDATE job SET state = %(to)s, reason = %(reason)s, deaths = deaths + %(deaths)s, revision = revision + 1,
               pause_requested = FALSE, available_at = CASE WHEN %(delay)s > 0 THEN {now} + %(delay)s ELSE 0 END,
               ended_at = CASE WHEN %(final)s THEN {now} ELSE ended_at END
WHERE id = %(job)s AND attempt = %(attempt)s AND state = %(from)s
RETURNING revision
"""
END_ATTEMPT = """
UPDATE attempt SET ended_at = {now}, "end" = %(end)s, exit = %(exit)s WHERE id = %(attempt_id)s AND ended_at IS NULL
RETURNING started_at, ended_at, (SELECT num_gpus FROM job WHERE job.id = attempt.job_id)
"""
FREE_SLOTS = "UPDATE slot SET attempt_id = NULL WHERE attempt_id = %(attempt_id)s"

# A person's or a parent's doing

LOOK = """
SELECT state, attempt, deaths, cancel_requested, workspace_id FROM job WHERE id = %(job)s
"""
MOVE = """
UPDATE job SET state = %(to)s, reason = %(reason)s, revision = revision + 1, cancel_requested = %(cancel)s,
               ended_at = CASE WHEN %(final)s THEN {now} ELSE ended_at END
WHERE id = %(job)s AND state = %(from)s
RETURNING revision, attempt, workspace_id
"""
REQUEST_CANCEL = """
UPDATE job SET cancel_requested = TRUE, revision = revision + 1
WHERE id = %(job)s AND state IN ('assigned', 'running') RETURNING revision, attempt
"""
REQUEST_PAUSE = """
UPDATE job SET pause_requested = TRUE, revision = revision + 1
WHERE id = %(job)s AND state IN ('assigned', 'running') RETURNING revision, attempt
"""
CHILDREN = """
SELECT child.id, child.title FROM job_parent JOIN job AS child ON child.id = job_parent.job_id
WHERE job_parent.parent_id = %(job)s AND child.state = 'blocked' ORDER BY child.id
"""
UNFINISHED_PARENTS = """
SELECT COUNT(*) FROM job_parent JOIN job AS parent ON parent.id = job_parent.parent_id
WHERE job_parent.job_id = %(job)s AND parent.state <> 'succeeded'
"""

# Sweeping

BEAT = """
INSERT INTO pulse (name, beat_at, since) VALUES (%(name)s, {now}, {now})
ON CONFLICT (name) DO UPDATE SET
    since = CASE WHEN {now} - pulse.beat_at > %(gap)s OR {now} < pulse.beat_at THEN {now} ELSE pulse.since END,
    beat_at = {now}
"""
# Overdue only if the web could have taken a renewal during one whole lease; a row that is being renewed now is not.
# A lease that ends later than any can is of a clock that was set back.
OVERDUE = """
SELECT attempt.id, attempt.number, job.id, job.state, job.workspace_id FROM attempt
JOIN job ON job.id = attempt.job_id AND job.attempt = attempt.number
WHERE job.state IN ('assigned', 'running')
  AND (attempt.lease_expires_at < {now} OR attempt.lease_expires_at > {now} + 2 * %(lease)s)
  AND EXISTS (SELECT 1 FROM pulse WHERE name = 'web' AND {now} - since >= %(lease)s AND {now} - beat_at <= %(gap)s)
{skip_locked}
"""
HELD = """
SELECT attempt.id, attempt.number, job.id, job.state, job.workspace_id, job.cancel_requested FROM attempt
JOIN job ON job.id = attempt.job_id AND job.attempt = attempt.number
WHERE job.state IN ('assigned', 'running') AND attempt.host_id = %(host)s
"""
ATTEMPT = """
SELECT attempt.id, attempt.number, job.id, job.state, job.workspace_id FROM attempt
JOIN job ON job.id = attempt.job_id AND job.attempt = attempt.number WHERE attempt.id = %(attempt_id)s
"""
LEAD = """
INSERT INTO leader (name, holder, expires_at) VALUES (%(name)s, %(holder)s, {now} + %(seconds)s)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
    WHERE leader.holder = excluded.holder OR leader.expires_at < {now} OR leader.expires_at > {now} + 2 * %(seconds)s
RETURNING holder
"""
STAND_DOWN = "DELETE FROM leader WHERE name = %(name)s AND holder = %(holder)s"
